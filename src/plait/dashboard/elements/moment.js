// A slider over the past hour: its right end is now, and follows the clock.
export default {
  template: `
    <div class="map-moment" :class="{ past: until }">
      <button type="button" class="map-moment-live" :aria-pressed="String(!until)" @click="go(0)" title="Follow what happens now"><span class="dot"></span>Live</button>
      <div class="map-moment-scale">
        <input type="range" min="0" :max="span" :step="step" :value="place" :aria-label="label" :aria-valuetext="said" @input="slide" />
        <div class="map-moment-ticks" aria-hidden="true"><span v-for="tick in ticks" :key="tick.at" :style="{ left: tick.at + '%' }">{{ tick.text }}</span></div>
      </div>
      <output class="map-moment-said">{{ said }}</output>
    </div>`,
  props: { until: Number, span: Number, step: Number, label: String },
  emits: ["moment"],
  data() {
    return { now: Date.now() / 1000, chosen: null };
  },
  computed: {
    place() {
      const until = this.chosen ?? this.until;
      return until ? Math.max(0, this.span - (this.now - until)) : this.span;
    },
    said() {
      const until = this.chosen ?? this.until;
      return new Date((until || this.now) * 1000).toLocaleTimeString([], { hour12: false });
    },
    ticks() {
      return [60, 50, 40, 30, 20, 10, 0].map((minutes) => ({ at: 100 - (minutes * 6000) / this.span, text: minutes ? `\u2212${minutes} min` : "now" }));
    },
  },
  watch: {
    until() {
      this.chosen = null;
    },
  },
  mounted() {
    this.clock = setInterval(() => (this.now = Date.now() / 1000), 1000);
  },
  unmounted() {
    clearInterval(this.clock);
    clearTimeout(this.soon);
  },
  methods: {
    slide(event) {
      const back = this.span - Number(event.target.value);
      this.chosen = back < this.step ? 0 : Math.round(this.now - back);
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.$emit("moment", this.chosen), 150);
    },
    go(until) {
      this.chosen = until;
      this.$emit("moment", until);
    },
  },
};
