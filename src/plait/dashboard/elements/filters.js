// What is shown of the map: of which namespace and service, how healthy, and over how long.
export default {
  template: `
    <div class="toolbar map-filters" role="search">
      <select class="field" aria-label="Namespace" :value="namespace" @change="$emit('filter', { name: 'namespace', value: $event.target.value })">
        <option value="">All namespaces</option>
        <option v-for="one in known" :key="one" :value="one">{{ one }}</option>
      </select>
      <label class="map-find"><i class="material-icons" aria-hidden="true">search</i>
        <input type="search" class="field" aria-label="Service" placeholder="Find a service" v-model="typed" @input="find" @keydown.enter="find" /></label>
      <div class="map-segments" role="group" aria-label="Health">
        <button v-for="one in healths" :key="one[0]" type="button" :aria-pressed="String(one[0] === health)" @click="$emit('filter', { name: 'health', value: one[0] })">{{ one[1] }}</button>
      </div>
      <div class="map-segments right" role="group" aria-label="Window">
        <button v-for="one in windows" :key="one[0]" type="button" :aria-pressed="String(one[0] === window)" @click="$emit('filter', { name: 'window', value: one[0] })">{{ one[1] }}</button>
      </div>
    </div>`,
  props: { namespaces: Array, healths: Array, windows: Array, namespace: String, service: String, health: String, window: Number },
  emits: ["filter"],
  data() {
    return { typed: this.service };
  },
  computed: {
    known() {
      return this.namespace && !this.namespaces.includes(this.namespace) ? [...this.namespaces, this.namespace] : this.namespaces;
    },
  },
  watch: {
    service(now) {
      if (now !== this.typed.trim()) this.typed = now;
    },
  },
  unmounted() {
    clearTimeout(this.soon);
  },
  methods: {
    find() {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.$emit("filter", { name: "service", value: this.typed.trim() }), 200);
    },
  },
};
