// The spans of a trace: folding, opening and the keys are done here.
export default {
  template: `
    <div class="fall" role="tree" tabindex="0" aria-label="Spans" :aria-activedescendant="at ? 'span-' + at : null" @keydown="key" @focus="at ||= shown[0]?.id ?? ''">
      <div class="fall-head" aria-hidden="true">
        <span>Who and what</span>
        <span class="fall-ticks"><i v-for="(tick, i) in ticks" :key="i" :style="{ left: (100 * i) / (ticks.length - 1) + '%' }">{{ tick }}</i></span>
        <span class="fall-took">Took</span>
      </div>
      <template v-for="line in shown" :key="line.id">
        <div class="fall-row" role="treeitem" :id="'span-' + line.id" :class="{ failed: line.failed, at: line.id === at, open: line.id === open, off: !line.critical }"
             :aria-level="line.depth + 1" :aria-expanded="line.below ? !folded.has(line.id) : null" :aria-selected="line.id === at" @click="at = line.id; toggle(line.id)">
          <span class="fall-who" :style="{ paddingLeft: 12 * Math.min(line.depth, 14) + 'px' }">
            <button v-if="line.below" type="button" tabindex="-1" class="fall-fold" :aria-label="folded.has(line.id) ? 'Unfold' : 'Fold'" @click.stop="at = line.id; fold(line.id)">{{ folded.has(line.id) ? "▸" : "▾" }}</button>
            <span v-else class="fall-fold"></span>
            <i class="fall-dot" :style="{ background: colour(line) }"></i>
            <b>{{ line.who }}</b><span v-if="line.to" class="fall-to">→ {{ line.to }}</span><span class="fall-what" :title="line.what">{{ line.what }}</span>
            <span v-if="folded.has(line.id)" class="badge">+{{ line.below }}</span>
            <span v-if="line.status && line.failed" class="badge bad">{{ line.status }}</span>
          </span>
          <span class="fall-track"><i :style="{ left: line.left + '%', width: line.width + '%', background: colour(line) }"></i></span>
          <span class="fall-took">{{ line.took }}</span>
        </div>
        <div v-if="line.id === open" class="fall-more">
          <p v-if="line.message" class="fall-message bad">{{ line.message }}</p>
          <p v-for="words in line.words" :key="words" class="fall-words">{{ words }}</p>
          <p class="fall-links"><a v-for="[text, href] in line.links" :key="href" :href="href">{{ text }}</a></p>
          <dl><template v-for="[name, value] in line.facts" :key="name"><dt>{{ name }}</dt><dd>{{ value }}</dd></template></dl>
        </div>
      </template>
    </div>`,
  props: { lines: Array, ticks: Array, opened: String },
  data() {
    return { folded: new Set(), open: this.opened, at: this.opened };
  },
  computed: {
    shown() {
      let under = Infinity;
      return this.lines.filter((line) => {
        if (line.depth > under) return false;
        under = this.folded.has(line.id) ? line.depth : Infinity;
        return true;
      });
    },
  },
  methods: {
    colour: (line) => (line.failed ? "var(--bad)" : `var(--series-${line.colour})`),
    fold(id, wanted = !this.folded.has(id)) {
      wanted ? this.folded.add(id) : this.folded.delete(id);
    },
    toggle(id) {
      this.open = this.open === id ? "" : id;
      const place = new URL(location);
      this.open ? place.searchParams.set("span", this.open) : place.searchParams.delete("span");
      history.replaceState(history.state, "", place);
    },
    go(number) {
      const line = this.shown[Math.max(0, Math.min(this.shown.length - 1, number))];
      if (!line) return;
      this.at = line.id;
      document.getElementById(`span-${line.id}`).scrollIntoView({ block: "nearest" });
    },
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("a")) return;
      const number = this.shown.findIndex((line) => line.id === this.at);
      const line = this.shown[number];
      const parent = () => this.shown.findLastIndex((one, i) => i < number && one.depth < line.depth);
      if (event.key === "ArrowDown") this.go(number + 1);
      else if (event.key === "ArrowUp") this.go(number < 0 ? this.shown.length : number - 1);
      else if (event.key === "Home") this.go(0);
      else if (event.key === "End") this.go(this.shown.length);
      else if (!line) return;
      else if (event.key === "ArrowLeft") line.below && !this.folded.has(line.id) ? this.fold(line.id, true) : parent() >= 0 && this.go(parent());
      else if (event.key === "ArrowRight") line.below && this.folded.has(line.id) ? this.fold(line.id, false) : line.below && this.go(number + 1);
      else if (event.key === "Enter" || event.key === " ") this.toggle(line.id);
      else if (event.key === "Escape" && this.open) this.toggle(this.open);
      else return;
      event.preventDefault();
    },
  },
};
