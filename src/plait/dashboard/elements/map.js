// The map: nodes and edges by key, each at its place.  `apply` takes what has changed; all else stays as it is drawn.
const ICONS = { client: "person", outside: "public", external: "language", group: "folder" };
const TONES = ["good", "warn", "bad", "refused", "idle"];
const PAD = { x: 18, top: 26, bottom: 52 };
const BOW = 36; // how far an edge within one column leans out of it
const NEAREST = 1.1, FARTHEST = 0.08, SMALL = 0.68, FAR = 0.5; // how much larger than life; from SMALL on what is on edges can't be read

const NOTHING = { nodes: {}, edges: {}, places: {}, routes: {}, frames: {}, at: "", path: null, empty: "", crowded: false };
const begun = (whole) => {
  const { nodes, edges, places, routes, frames, at, path, empty, crowded } = JSON.parse(JSON.stringify(whole ?? NOTHING)); // what comes from outside is watched in depth
  const fixed = Object.fromEntries(Object.entries({ nodes, edges, places, routes, frames }).map(([name, some]) => [name, Object.freeze(some)]));
  return { ...fixed, at, empty, crowded, path: path && new Set(path), stop: Object.keys(nodes)[0] };
};

export default {
  template: `
    <div class="map" ref="ground" :class="{ small: view.k < ${SMALL}, far: view.k < ${FAR}, marked: hover, picked: at && !hover, tracing: path, crowded, dragging: drag, still: still || crowded }"
         role="application" :aria-label="label" @pointerdown="grab" @pointermove="pull" @pointerup="drop" @pointercancel="drop"
         @wheel="wheel" @keydown="key" @scroll="$refs.ground.scrollTo(0, 0)">
      <div class="map-world" :style="{ transform: 'translate(' + view.x + 'px,' + view.y + 'px) scale(' + view.k + ')', '--k': view.k }">
        <div v-for="(frame, name) in frames" :key="name" class="map-frame" :style="spot(frame)" :data-frame="name">
          <button v-if="frame.closes" type="button" :title="'Close ' + name" @click="$emit('toggle', name)"><i class="material-icons" aria-hidden="true">unfold_less</i>{{ name }}</button>
          <span v-else>{{ name }}</span>
        </div>
        <svg class="map-lines" width="1" height="1" aria-hidden="true">
          <defs>
            <marker v-for="tone in tones" :key="tone" :id="'map-arrow-' + tone" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="8" refX="7" refY="4" orient="auto">
              <path d="M0 0.5L8.5 4L0 7.5z" :class="tone" />
            </marker>
          </defs>
          <g v-for="(edge, key) in edges" :key="key" v-memo="[edge, routes[key], lit(key), onPath(key), key === at]" class="map-edge" :data-edge="key"
             :class="[edge.tone, { idle: edge.idle, lit: lit(key), on: onPath(key), chosen: key === at }]"
             @click.stop="choose(key)" @pointerenter="enter(key, $event)" @pointermove="enter(key, $event)" @pointerleave="leave(key)">
            <path class="hit" :d="routes[key].d" />
            <path class="line" :d="routes[key].d" :stroke-width="edge.w" :marker-end="'url(#map-arrow-' + edge.tone + ')'" />
          </g>
        </svg>
        <div v-for="(edge, key) in labelled" :key="key" class="map-label" :data-label="key" :class="[edge.tone, { lit: lit(key), on: onPath(key) }]"
               :style="{ left: routes[key].x + 'px', top: routes[key].y + 'px' }" @click.stop="choose(key)" @pointerenter="enter(key, $event)" @pointerleave="leave(key)">
            <svg v-if="edge.mtls != null" class="lock" :class="{ open: !edge.mtls }" viewBox="0 0 8 10" aria-hidden="true"><path :d="edge.mtls ? 'M2 4.5V3a2 2 0 0 1 4 0v1.5' : 'M2 4.5V3a2 2 0 0 1 3.9-.6'" /><rect x="0.8" y="4.5" width="6.4" height="5" rx="1" /></svg>
            <span>{{ edge.text }}</span><b v-if="edge.mark && !routes[key].short">{{ edge.mark }}</b>
        </div>
        <button v-for="(node, key) in nodes" :key="key" v-memo="[node, places[key], lit(key), onPath(key), key === at, key === stop]" type="button" class="map-node" :data-node="key" :tabindex="key === stop ? 0 : -1"
                :class="[node.kind, node.noteTone, { lit: lit(key), on: onPath(key), chosen: key === at }]" :style="spot(places[key])"
                @click.stop="choose(key)" @focus="focused(key)" @pointerenter="hover = key" @pointerleave="leave(key)">
          <span class="head">
            <i v-if="icons[node.kind]" class="material-icons" aria-hidden="true">{{ icons[node.kind] }}</i>
            <span v-else class="dot" :class="node.tone" :title="words[node.tone]"></span>
            <span class="name" :title="node.name">{{ node.name }}</span><span class="rate">{{ node.rate }}</span>
          </span>
          <span class="note" :class="node.noteTone">{{ node.note }}<em v-if="node.refused">{{ node.refused }}</em></span>
          <span v-for="row in node.rows" :key="row.key" class="version" :title="row.title">
            <span v-if="row.tone" class="tick" :class="row.tone"></span><span class="what">{{ row.label }}</span><span v-if="row.times" class="times">{{ row.times }}</span>
            <span v-if="row.part !== undefined" class="bar"><span :style="{ width: row.part * 100 + '%' }" :class="row.tone"></span></span>
            <span class="share">{{ row.share }}</span>
          </span>
        </button>
      </div>
      <div v-if="!count" class="map-empty">{{ empty }}</div>
      <div v-if="tip" class="map-tip" role="tooltip" :style="{ left: tip.x + 'px', top: tip.y + 'px' }">
        <b>{{ tip.edge.name }}</b>
        <dl v-if="tip.edge.all"><template v-for="(value, name) in tip.edge.all" :key="name"><dt>{{ name }}</dt><dd>{{ value }}</dd></template>
          <template v-if="tip.edge.mtls != null"><dt>mTLS</dt><dd>{{ tip.edge.mtls ? "yes" : "no, in the clear" }}</dd></template></dl>
        <span v-else>Nothing now; there was something within the past hour.</span>
      </div>
      <div class="map-legend" aria-label="Legend">
        <span v-for="(word, tone) in legend" :key="tone"><svg width="22" height="8" aria-hidden="true"><path d="M1 4H21" :class="['key', tone]" /></svg>{{ word }}</span>
        <span><svg class="lock" viewBox="0 0 8 10" aria-hidden="true"><path d="M2 4.5V3a2 2 0 0 1 4 0v1.5" /><rect x="0.8" y="4.5" width="6.4" height="5" rx="1" /></svg>mTLS</span>
        <span><svg class="lock open" viewBox="0 0 8 10" aria-hidden="true"><path d="M2 4.5V3a2 2 0 0 1 3.9-.6" /><rect x="0.8" y="4.5" width="6.4" height="5" rx="1" /></svg>in the clear</span>
      </div>
      <div class="map-zoom" role="group" aria-label="Zoom">
        <button type="button" title="Nearer (+)" aria-label="Nearer" @click="zoom(1.25)"><i class="material-icons" aria-hidden="true">add</i></button>
        <button type="button" title="Farther (-)" aria-label="Farther" @click="zoom(0.8)"><i class="material-icons" aria-hidden="true">remove</i></button>
        <button type="button" title="All of it (0)" aria-label="All of it" @click="fit"><i class="material-icons" aria-hidden="true">fit_screen</i></button>
      </div>
    </div>`,
  props: { whole: Object, label: String },
  emits: ["choose", "toggle"],
  data() {
    return {
      ...begun(this.whole), hover: null, tip: null,
      view: { x: 0, y: 0, k: 1 }, touched: false, drag: null, still: true,
      tones: TONES, icons: ICONS, words: { good: "healthy", warn: "some requests fail", bad: "many requests fail", idle: "nothing is known" },
      legend: { good: "healthy", warn: "some fail", bad: "5% or more fail", refused: "refused", idle: "idle" },
    };
  },
  computed: {
    count() {
      return Object.keys(this.nodes).length;
    },
    labelled() {
      return Object.fromEntries(Object.entries(this.edges).filter(([key, edge]) => !edge.idle && this.routes[key].x != null));
    },
    marked() {
      return this.hover ?? (this.at || null);
    },
    around() {  // what belongs to that which is pointed at, or chosen
      const found = new Set();
      const one = this.marked;
      if (!one) return found;
      found.add(one);
      for (const [key, edge] of Object.entries(this.edges)) {
        if (key === one) found.add(edge.s).add(edge.t);
        else if (edge.s === one || edge.t === one) found.add(key).add(edge.s).add(edge.t);
      }
      return found;
    },
  },
  watch: {
    whole(now, before) { // the control plane was away when the page was made
      if (before) return;
      Object.assign(this, begun(now));
      this.$nextTick(this.fit);
    },
  },
  mounted() {
    this.watch = new ResizeObserver(() => this.touched || this.fit());
    this.watch.observe(this.$refs.ground);
    this.fit();
    requestAnimationFrame(() => requestAnimationFrame(() => (this.still = false)));
  },
  unmounted() {
    this.watch.disconnect();
  },
  methods: {
    apply(change) {
      for (const name of ["nodes", "edges", "places", "routes", "frames"]) {
        const changed = change[name], gone = change.gone?.[name];
        if (!changed && !gone) continue;
        const now = { ...this[name] };
        for (const key in changed) now[key] = { ...now[key], ...changed[key] };
        for (const key of gone ?? []) delete now[key];
        this[name] = Object.freeze(now);
      }
      for (const name of ["at", "empty", "crowded"]) if (name in change) this[name] = change[name];
      if ("path" in change) this.path = change.path && new Set(change.path);
      if (this.tip) this.tip = this.edges[this.tip.key] ? { ...this.tip, edge: this.edges[this.tip.key] } : null;
      if (!this.nodes[this.stop]) this.stop = Object.keys(this.nodes)[0];
      if (this.hover && !this.nodes[this.hover] && !this.edges[this.hover]) this.hover = null;
      if ((change.places || change.frames || change.gone) && !this.touched) this.fit();
    },
    lit(key) {
      return this.around.has(key);
    },
    onPath(key) {
      return this.path?.has(key) ?? false;
    },
    spot(box) {
      return { transform: `translate(${box.x}px,${box.y}px)`, width: `${box.w}px`, height: `${box.h}px` };
    },
    choose(key) {
      if (this.moved) return;
      const node = this.nodes[key];
      if (node?.kind === "group") return this.$emit("toggle", node.namespace);
      this.at = key;
      this.tip = null;
      this.$emit("choose", key);
    },
    enter(key, event) {
      if (this.drag) return;
      const ground = this.$refs.ground.getBoundingClientRect();
      this.hover = key;
      this.tip = { key, edge: this.edges[key], x: Math.min(event.clientX - ground.x + 14, ground.width - 220), y: Math.min(event.clientY - ground.y + 14, ground.height - 190) };
    },
    leave(key) {
      if (this.hover === key) this.hover = null;
      if (this.tip?.key === key) this.tip = null;
    },
    fit() {
      const { clientWidth: width, clientHeight: height } = this.$refs.ground;
      const boxes = [...Object.values(this.places), ...Object.values(this.frames)];
      this.touched = false;
      if (!boxes.length || !width) return;
      const left = Math.min(...boxes.map((box) => box.x)), top = Math.min(...boxes.map((box) => box.y));
      const right = Math.max(...boxes.map((box) => box.x + box.w));
      const bows = Object.values(this.edges).some((edge) => [edge.s, edge.t].every((key) => this.places[key].x + this.places[key].w === right));
      const wide = right - left + (bows ? BOW : 0), high = Math.max(...boxes.map((box) => box.y + box.h)) - top;
      const k = Math.max(FARTHEST, Math.min(NEAREST, (width - 2 * PAD.x) / wide, (height - PAD.top - PAD.bottom) / high));
      this.view = { k, x: Math.round((width - wide * k) / 2 - left * k), y: Math.round(PAD.top + (height - PAD.top - PAD.bottom - high * k) / 2 - top * k) };
    },
    zoom(by, x, y) {
      const { clientWidth, clientHeight } = this.$refs.ground;
      const k = Math.max(FARTHEST, Math.min(2.5, this.view.k * by));
      const [cx, cy] = [x ?? clientWidth / 2, y ?? clientHeight / 2], by_ = k / this.view.k;
      this.view = { k, x: cx - (cx - this.view.x) * by_, y: cy - (cy - this.view.y) * by_ };
      this.touched = true;
    },
    wheel(event) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const ground = this.$refs.ground.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * 0.0022), event.clientX - ground.x, event.clientY - ground.y);
    },
    grab(event) {
      this.moved = false;
      if (event.button || event.target.closest("button, .map-tip, .map-legend")) return;
      this.drag = { x: event.clientX - this.view.x, y: event.clientY - this.view.y, fromX: event.clientX, fromY: event.clientY };
    },
    pull(event) {
      if (!this.drag) return;
      if (!this.moved && Math.hypot(event.clientX - this.drag.fromX, event.clientY - this.drag.fromY) < 4) return;
      if (!this.moved) this.$refs.ground.setPointerCapture(event.pointerId);
      this.moved = this.touched = true;
      this.view = { ...this.view, x: event.clientX - this.drag.x, y: event.clientY - this.drag.y };
    },
    drop(event) {
      const free = this.drag && !this.moved && !event.target.closest(".map-edge, .map-label");
      this.drag = null;
      if (free && this.at) this.leaveChosen();
    },
    leaveChosen() {
      this.at = "";
      this.$emit("choose", "");
    },
    focused(key) {
      this.stop = key;
      const box = this.places[key], { x, y, k } = this.view, { clientWidth, clientHeight } = this.$refs.ground;
      const [left, top] = [x + box.x * k, y + box.y * k], [right, bottom] = [left + box.w * k, top + box.h * k];
      const dx = left < 0 ? 20 - left : right > clientWidth ? clientWidth - 20 - right : 0;
      const dy = top < 0 ? 20 - top : bottom > clientHeight ? clientHeight - 20 - bottom : 0;
      if (dx || dy) this.view = { k, x: x + dx, y: y + dy };
    },
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = { "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8), 0: () => this.fit(), Escape: () => this.leaveChosen() };
      const way = { ArrowRight: "s", ArrowLeft: "t", ArrowUp: -1, ArrowDown: 1 }[event.key];
      const from = event.target.closest?.(".map-node")?.dataset.node;
      if (way && from) this.walk(from, way);
      else if (acts[event.key]) acts[event.key]();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    walk(from, way) {  // along an edge, or up and down; to the nearest
      const here = this.places[from], middle = (box) => box.y + box.h / 2;
      let next;
      if (way === "s" || way === "t") next = Object.values(this.edges).filter((edge) => edge[way] === from).map((edge) => edge[way === "s" ? "t" : "s"]);
      else next = Object.keys(this.places).filter((key) => (middle(this.places[key]) - middle(here)) * way > 0);
      const far = (key) => Math.abs(middle(this.places[key]) - middle(here)) + (typeof way === "number" ? 4 : 1) * Math.abs(this.places[key].x - here.x);
      const to = [...new Set(next)].filter((key) => key !== from).sort((a, b) => far(a) - far(b) || a.localeCompare(b))[0];
      if (to) this.$refs.ground.querySelector(`[data-node="${CSS.escape(to)}"]`).focus({ preventScroll: true });
    },
  },
};
