// Marks over time, drawn by ECharts: `apply` takes what has changed, the rest stays here.
import { echarts } from "nicegui-echart";

const two = (number) => String(number).padStart(2, "0");
const clock = (time, seconds) => {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""}`;
};

export default {
  template: `
    <div class="marks" role="img" :aria-label="label">
      <div class="marks-legend" aria-hidden="true">
        <span v-for="kind in there" :key="kind.name" :class="'marks-' + kind.shape" :style="{ color: 'var(' + kind.colour + ')' }"><i></i><em>{{ kind.label }}</em></span>
      </div>
      <div ref="box" :style="{ height: height + 'px' }"></div>
    </div>`,
  props: { label: String, height: Number, log: Boolean, kinds: Array, whole: Object },
  data() {
    return { there: [] };
  },
  created() {
    this.forget();
  },
  mounted() {
    this.chart = echarts.init(this.$refs.box, null, { renderer: "svg" });
    this.chart.on("click", ({ data }) => data?.href && window.location.assign(data.href));
    this.resized = new ResizeObserver(() => this.chart.resize());
    this.resized.observe(this.$refs.box);
    if (this.whole) this.apply(this.whole);
  },
  beforeUnmount() {
    this.resized.disconnect();
    this.chart.dispose();
  },
  watch: {
    whole(now) {
      this.forget();
      if (now) this.apply(now);
    },
  },
  methods: {
    forget() {
      Object.assign(this, { marks: new Map(), steps: [], since: 0, until: 0, axis: { values: [0, 1], texts: ["", ""] } });
    },
    apply(change) {
      for (const key of change.gone ?? []) this.marks.delete(key);
      for (const mark of change.added ?? []) this.marks.set(mark.key, mark);
      for (const name of ["steps", "since", "until", "axis"]) if (name in change) this[name] = change[name];
      this.draw();
    },
    draw() {
      const marks = [...this.marks.values()];
      this.there = this.kinds.filter((kind) => marks.some((mark) => mark.kind === kind.name));
      const { values, texts } = this.axis;
      const said = (value) => texts[values.findIndex((one) => Math.abs(one - value) < 1e-9 * Math.max(1, one))] ?? "";
      const long = this.until - this.since > 300000;
      this.chart.setOption(
        {
          animation: false,
          grid: { left: 8, right: 30, top: 12, bottom: 4, containLabel: true },
          xAxis: {
            type: "time", min: this.since, max: this.until, splitNumber: 5,
            axisLine: { lineStyle: { color: "var(--line-strong)" } }, axisTick: { show: false },
            axisLabel: { color: "var(--muted)", fontSize: 11, hideOverlap: true, formatter: (time) => clock(time, !long) },
            splitLine: { show: false },
          },
          yAxis: {
            type: this.log ? "log" : "value", min: values[0], max: values.at(-1), interval: this.log ? undefined : values[1] - values[0],
            axisLabel: { color: "var(--muted)", fontSize: 11, formatter: said }, splitLine: { lineStyle: { color: "var(--line)" } },
            axisLine: { show: false }, axisTick: { show: false }, minorTick: { show: false },
          },
          tooltip: {
            trigger: "item", appendTo: "body", className: "marks-tip", transitionDuration: 0, padding: 0, borderWidth: 0,
            formatter: ({ data }) => this.tip(data),
          },
          series: [
            {
              id: "steps", type: "line", step: "end", showSymbol: false, silent: true, data: this.steps, z: 1,
              lineStyle: { color: "var(--series-1)", width: 2 }, itemStyle: { color: "var(--series-1)" }, areaStyle: { color: "var(--series-1)", opacity: 0.12 },
            },
            ...this.there.map((kind) => ({
              id: kind.name, type: "scatter", symbol: kind.shape, symbolSize: kind.shape === "circle" ? 10 : 12, z: 3, cursor: marks.some((mark) => mark.href) ? "pointer" : "default",
              itemStyle: { color: `var(${kind.colour})`, borderColor: "var(--panel)", borderWidth: 1.5, opacity: 1 },
              // Without colours of its own ECharts would make lighter what it can't read, a variable, and so nothing of it.
              emphasis: { scale: 1.4, itemStyle: { color: `var(${kind.colour})`, borderColor: "var(--panel)" } },
              data: marks.filter((mark) => mark.kind === kind.name).map((mark) => ({ ...mark, value: [mark.at, mark.value] })),
            })),
          ],
        },
        { replaceMerge: ["series"] },
      );
    },
    tip(mark) {
      const box = document.createElement("div");
      box.appendChild(document.createElement("b")).textContent = clock(mark.at, true);
      for (const line of mark.text) box.appendChild(document.createElement("div")).textContent = line;
      return box;
    },
  },
};
