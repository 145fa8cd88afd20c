// Lines over time, drawn by ECharts: `apply` takes what has changed of what is shown, the points stay here.
import { echarts } from "nicegui-echart";

const two = (number) => String(number).padStart(2, "0");
const clock = (time, seconds) => {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""}`;
};

export default {
  template: `
    <div class="chart" role="img" :aria-label="said" :style="{ height: height + 'px' }">
      <div v-if="lines.length > 1" class="chart-legend" aria-hidden="true">
        <span v-for="line in lines" :key="line.name"><i :class="{ dashed: line.dashed }" :style="{ color: 'var(' + line.colour + ')' }"></i>{{ line.name }}</span>
      </div>
      <div class="chart-box" aria-hidden="true">
        <div ref="box" class="chart-drawn"></div>
        <div v-if="drawn && !known" class="chart-none">Nothing was seen in this time</div>
      </div>
    </div>`,
  props: { label: String, height: Number, picture: Object },
  data() {
    return { lines: [], said: this.label, known: 0, drawn: false };
  },
  created() {
    this.begin(this.picture);
  },
  mounted() {
    this.chart = echarts.init(this.$refs.box, null, { renderer: "svg" });
    this.resized = new ResizeObserver(() => this.chart.resize());
    this.resized.observe(this.$refs.box);
    this.draw();
  },
  beforeUnmount() {
    this.resized.disconnect();
    this.chart.dispose();
  },
  watch: {
    picture(whole) {
      this.begin(whole);
      this.draw();
    },
  },
  methods: {
    begin(whole) {
      Object.assign(this, { points: new Map(), marks: [], first: 0, last: 0, step: 1, phase: 0 });
      if (whole) this.take(whole);
    },
    apply(change) {
      this.take(change);
      this.draw();
    },
    take(change) {
      this.drawn = true;
      if (change.step !== undefined) this.points.clear();
      for (const name of ["step", "phase", "first", "last", "marks", "lines"]) if (name in change) this[name] = change[name];
      const names = new Set(this.lines.map((line) => line.name));
      for (const name of this.points.keys()) if (!names.has(name)) this.points.delete(name);
      for (const [name, some] of Object.entries(change.points ?? {})) {
        if (!this.points.has(name)) this.points.set(name, new Map());
        const points = this.points.get(name);
        for (const [distance, ...point] of some)
          point.length ? points.set(this.first + distance, point) : points.delete(this.first + distance);
      }
      for (const points of this.points.values()) for (const step of points.keys()) if (step < this.first) points.delete(step);
    },
    at(step) {
      return (this.phase + step * this.step) * 1000;
    },
    draw() {
      if (!this.chart || !this.drawn) return;
      const steps = Array.from({ length: this.last - this.first + 1 }, (_, i) => this.first + i);
      const of = (line, step) => this.points.get(line.name)?.get(step);
      this.known = this.lines.reduce((sum, line) => sum + (this.points.get(line.name)?.size ?? 0), 0);
      const latest = this.lines.map((line) => `${line.name} ${of(line, this.last)?.[1] ?? "not known"}`);
      this.said = `${this.label}: ${latest.join(", ")}`;
      const top = this.marks.at(-1)?.[0] ?? 1;
      const texts = new Map(this.marks.map(([mark, text]) => [mark, text]));
      this.chart.setOption(
        {
          animation: false,
          textStyle: { fontFamily: getComputedStyle(this.$el).fontFamily },
          grid: { left: 8, right: 14, top: 10, bottom: 2, containLabel: true },
          xAxis: {
            type: "time", min: this.at(this.first), max: this.at(this.last), splitNumber: 4,
            axisLine: { lineStyle: { color: "var(--line-strong)" } }, axisTick: { show: false },
            axisLabel: { color: "var(--muted)", fontSize: 11, hideOverlap: true, margin: 10, formatter: (time) => clock(time, false) },
          },
          yAxis: {
            type: "value", min: 0, max: top, interval: this.marks[1]?.[0] ?? 1,
            axisLabel: { color: "var(--muted)", fontSize: 11, formatter: (value) => texts.get(Number(value.toPrecision(6))) ?? "" },
            splitLine: { lineStyle: { color: "var(--line)" } },
          },
          tooltip: {
            trigger: "axis", appendTo: "body", className: "chart-tip", transitionDuration: 0, padding: 0, borderWidth: 0,
            axisPointer: { lineStyle: { color: "var(--line-strong)", type: "solid" } },
            formatter: (hovered) => this.tip(hovered[0].axisValue),
          },
          series: this.lines.map((line) => ({
            id: line.name, name: line.name, type: "line", showSymbol: false, symbol: "circle", symbolSize: 6, emphasis: { disabled: true },
            itemStyle: { color: `var(${line.colour})` },
            lineStyle: { color: `var(${line.colour})`, width: line.stacked ? 1 : 1.75, type: line.dashed ? [5, 4] : "solid" },
            stack: line.stacked ? "all" : undefined,
            areaStyle: line.area || line.stacked ? { color: `var(${line.colour})`, opacity: line.stacked ? 0.45 : 0.12 } : undefined,
            data: steps.map((step) => [this.at(step), of(line, step)?.[0] ?? null]),
          })),
        },
        { replaceMerge: ["series"] },
      );
    },
    tip(time) {
      const step = Math.round((time / 1000 - this.phase) / this.step);
      const box = document.createElement("div");
      const add = (parent, tag, text, colour) => {
        const made = parent.appendChild(document.createElement(tag));
        if (text) made.textContent = text;
        if (colour) made.style.color = `var(${colour})`;
        return made;
      };
      add(box, "b", `${clock(this.at(step - 1), true)} to ${clock(this.at(step), true)}`);
      for (const line of this.lines) {
        const row = add(box, "div");
        add(row, "i", "", line.colour);
        add(row, "span", line.name);
        add(row, "strong", this.points.get(line.name)?.get(step)?.[1] ?? "not known");
      }
      return box;
    },
  },
};
