// Remembers where instances were, so that a move can be shown and named for a while.

const MOVED_MS = 20000;

export class Moves {
  constructor() {
    this.places = null;
    this.recent = new Map();
    /** Ids of those that moved with the last picture. */
    this.fresh = [];
  }

  /** Take note of a new picture. */
  observe(status) {
    const places = new Map(status.instances.map((instance) => [instance.id, instance.node]));
    this.fresh = [];
    for (const [id, node] of places) {
      const before = this.places?.get(id) ?? this.recent.get(id)?.from;
      if (!this.places || !before || before === node) continue;
      if (node) {
        this.recent.set(id, { from: before, at: performance.now() });
        this.fresh.push(id);
      } else {
        places.set(id, before); // placed nowhere for a moment: the move is told when it arrives
      }
    }
    this.places = places;
    const affected = new Set(status.open_incidents.flatMap((incident) => incident.affected));
    for (const [id, { at }] of this.recent) {
      if (performance.now() - at > MOVED_MS && !affected.has(id)) this.recent.delete(id);
    }
  }

  from(id) {
    return this.recent.get(id)?.from ?? "";
  }

  /** [instance, node where it is now] of those that left the node a moment ago. */
  left(node) {
    const gone = [...this.recent].filter(([id, { from }]) => from === node && this.places.get(id) !== node);
    return gone.map(([id]) => [id, this.places.get(id)]);
  }
}
