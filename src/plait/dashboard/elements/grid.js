// A table of rows by key: `apply` takes those that have changed and, when it is another one, the order of all.
export default {
  template: `
    <div>
      <table class="grid" :aria-label="label || null">
        <thead><tr>
          <th v-for="(column, i) in columns" :key="column.key" :class="{ end: column.end }"
              :aria-sort="by === i ? (down ? 'descending' : 'ascending') : null" scope="col">
            <button type="button" @click="sort(i)">{{ column.label }}<span v-if="by === i" aria-hidden="true"> {{ down ? "↓" : "↑" }}</span></button>
          </th>
        </tr></thead>
        <tbody>
          <tr v-for="row in shown" :key="row.key" :data-key="row.key">
            <td v-for="(cell, i) in row.cells" :key="i" :class="{ end: columns[i].end, tight: columns[i].tight }" :title="cell.title || null">
              <span v-if="cell.bar !== undefined" class="grid-bar" aria-hidden="true"><i :style="{ width: cell.bar * 100 + '%' }"></i></span>
              <svg v-if="cell.spark" class="grid-spark" viewBox="-1 -2 102 104" preserveAspectRatio="none" aria-hidden="true"><polyline :points="line(cell.spark)" /></svg>
              <a v-if="cell.href" :href="cell.href" :class="[cell.tone, { badge: cell.badge }]">{{ cell.text }}</a>
              <span v-else :class="[cell.tone, { badge: cell.badge && cell.text }]">{{ cell.text }}</span>
              <span v-if="cell.sub" class="sub">{{ cell.sub }}</span>
            </td>
          </tr>
        </tbody>
      </table>
      <div v-if="!known.length" class="empty">{{ empty }}</div>
    </div>`,
  props: { columns: Array, rows: Array, empty: String, label: String },
  data() {
    return { known: this.rows, by: null, down: false };
  },
  computed: {
    shown() {
      if (this.by === null) return this.known;
      const value = (row) => row.cells[this.by].sort ?? row.cells[this.by].text ?? "";
      const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
      return [...this.known].sort((a, b) => (this.down ? -1 : 1) * order(value(a), value(b)));
    },
  },
  methods: {
    sort(i) {
      if (this.by !== i) [this.by, this.down] = [i, this.columns[i].end];
      else if (this.down === this.columns[i].end) this.down = !this.down;
      else this.by = null;
    },
    line(spark) {
      return spark.map((value, i) => `${(100 * i) / Math.max(spark.length - 1, 1)},${100 - value}`).join(" ");
    },
    apply(changed, order) {
      const rows = new Map(this.known.map((row) => [row.key, row]));
      for (const row of changed) rows.set(row.key, row);
      this.known = (order ?? [...rows.keys()]).map((key) => rows.get(key)).filter(Boolean);
    },
  },
};
