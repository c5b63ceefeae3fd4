/** Numbers of the machine; each is a decision about time or repetition, named once. */
export const LIMITS = {
  /** A rollback target whose bytes were not hashed within this time forbids a switch (H9). */
  rollbackVerifiedMsMax: 24 * 3_600_000,
  /** Bytes that were hashed longer ago than this are hashed again right before they are started. */
  verifiedBeforeStartMsMax: 600_000,
  /** The third restart of the computer during a trial ends it (H22). */
  trialReboots: 3,
  probeIntervalMs: 500,
  livenessIntervalMs: 10_000,
  /** Looks at a liveness probe that must fail one after the other before a workload counts as hanging. */
  livenessMisses: 3,
  /** Between two looks at what a ready set has to keep, while all of it is kept; a wake-up of the graph brings one forward. */
  driftLookMs: 30_000,
  /** Between two looks while something is missed, and at least between a look and the one that the graph asks for. */
  driftRelookMs: 3_000,
  /** Missed for so long it is drift; a shorter dip is none. Time in which it is kept takes half of it away again. */
  driftAfterMs: 10_000,
  /** Kept for so long without a break, a drift is over; flapping until then is one drift. */
  driftOverMs: 30_000,
  /** Between two reports that differ in drift alone. */
  driftReportMs: 10_000,
  restartBaseMs: 1_000,
  restartMsMax: 60_000,
  /** Between two restarts of a known good set that runs and does not become ready. */
  unreadyRestartMs: 300_000,
  /** Between two notes of nodes that die in a storm that is named already; each note is durable. */
  stormNoteMs: 30_000,
  downloadBaseMs: 2_000,
  downloadMsMax: 300_000,
  stageBaseMs: 5_000,
  stageMsMax: 600_000,
  stopRetryMs: 5_000,
  /** Between two looks while what runs cannot be seen; whoever can see it again rings earlier. */
  unseenRecheckMs: 5_000,
  /** A set that cannot be stopped in so many tries is a named failure; the tries go on. */
  stopTriesMax: 3,
  gateRecheckMs: 5_000,
  /** Between two tries to write the file that tells the vehicle of a change. */
  tellBaseMs: 5_000,
  tellMsMax: 60_000,
  acknowledgementRetryMs: 30_000,
  meteredRecheckMs: 30_000,
  diskRecheckMs: 15_000,
  /** A set in the middle of a change that cannot be read for so long is lost; a table of open files that is full is not. */
  unreadableMsMax: 30_000,
  /** No workload of a set that is committed ended unexpectedly within this time. */
  quietBeforeCommitMs: 5_000,
  /** Progress of a probation is made durable this often; a power cut loses no more. */
  probationCheckpointMs: 30_000,
  idleMs: 60_000,
  reportRepeatMs: 3_600_000,
} as const;
