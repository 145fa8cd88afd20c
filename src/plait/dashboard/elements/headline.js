// The map in a line, and the trace that is followed.
export default {
  template: `
    <div class="map-headline" aria-live="off">
      <span class="fact"><b data-fact="rate">{{ said.rate }}</b> requests</span>
      <span class="fact" :class="said.tone"><b data-fact="errors">{{ said.errors }}</b> errors</span>
      <span v-if="said.refused !== '0/s'" class="fact refused"><b data-fact="refused">{{ said.refused }}</b> refused</span>
      <span class="fact"><b data-fact="services">{{ said.services }}</b> {{ said.services === "1" ? "service" : "services" }}</span>
      <span v-if="chip.text" class="chip"><i class="material-icons" aria-hidden="true">timeline</i>
        <a v-if="chip.href" :href="chip.href">{{ chip.text }}</a><span v-else>{{ chip.text }}</span>
        <button type="button" aria-label="Leave the trace" title="Leave the trace" @click="$emit('leave')"><i class="material-icons" aria-hidden="true">close</i></button></span>
      <span v-if="said.gap" class="gap"><i class="material-icons" aria-hidden="true">info</i>{{ said.gap }}</span>
      <span class="time" :class="{ past }"><i v-if="past" class="material-icons" aria-hidden="true">history</i>{{ said.time }}</span>
    </div>`,
  props: { said: Object, chip: Object, past: Boolean },
  emits: ["leave"],
};
