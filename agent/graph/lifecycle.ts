/** The primary states of lifecycle_msgs/msg/State; a node in between has none, and 0 is the word for unknown. */
export function primaryState(id: unknown): number | null {
  return typeof id === "number" && Number.isInteger(id) && id >= 1 && id <= 4 ? id : null;
}

export const TRANSITION_EVENT = { name: "transition_event", type: "lifecycle_msgs/msg/TransitionEvent" } as const;
