// Seconds until something, counted here.
export default {
  template: `
    <div class="stat">
      <div class="label">{{ label }}</div>
      <div class="value" role="timer">{{ text }}</div>
      <div class="note">{{ note }}</div>
    </div>`,
  props: { label: String, due: Number, note: String },
  data() {
    return { now: Date.now() };
  },
  computed: {
    text() {
      const left = Math.round((this.due - this.now) / 1000);
      return !this.due ? "-" : left < 1 ? "now" : left < 120 ? `in ${left} s` : `in ${Math.round(left / 60)} min`;
    },
  },
  watch: {
    due() {
      this.now = Date.now();
    },
  },
  mounted() {
    this.timer = setInterval(() => (this.now = Date.now()), 500);
  },
  beforeUnmount() {
    clearInterval(this.timer);
  },
};
