// What is known of the one thing that is chosen on the map.
export default {
  template: `
    <aside class="map-details" :aria-label="said.title" @keydown.esc="$emit('choose', '')">
      <header>
        <span class="dot" :class="said.tone"></span>
        <div><h2 :title="said.title">{{ said.title }}</h2><p>{{ said.sub }}</p></div>
        <button type="button" title="Close (Esc)" aria-label="Close" @click="$emit('choose', '')"><i class="material-icons" aria-hidden="true">close</i></button>
      </header>
      <div class="map-details-body">
        <dl v-if="said.facts" class="map-details-facts"><div v-for="fact in said.facts" :key="fact.name"><dt>{{ fact.name }}</dt><dd :class="fact.tone">{{ fact.value }}</dd></div></dl>
        <p v-for="note in said.notes" :key="note.text" class="map-details-note" :class="note.tone">{{ note.text }} <a v-if="note.href" :href="note.href">{{ note.link }}</a></p>
        <section v-for="list in said.lists" :key="list.title"><h3>{{ list.title }}</h3>
          <ul><li v-for="row in list.rows" :key="row.key">
            <component :is="row.at ? 'button' : 'div'" :type="row.at ? 'button' : null" @click="row.at && $emit('choose', row.at)">
              <span class="tick" :class="row.tone"></span><span class="what" :title="row.name">{{ row.name }}</span>
              <span class="value">{{ row.value }}</span><span class="mark" :class="row.tone">{{ row.mark }}</span>
            </component></li></ul>
        </section>
      </div>
      <footer v-if="said.links"><a v-for="link in said.links" :key="link.text" :href="link.href">{{ link.text }}</a></footer>
    </aside>`,
  props: { said: Object },
  emits: ["choose"],
};
