/**
 * What a hostile or broken neighbour can make us hold. Anything beyond is refused and counted, and what was known before stays.
 * Together they bound the memory of one participant to some tens of megabytes.
 */
export const LIMITS = {
  participantsMax: 256,
  writersPerParticipantMax: 2_048,
  writersMax: 16_384,
  nodesPerParticipantMax: 256,
  topicCharactersMax: 255,
  typeCharactersMax: 255,
  partitionsMax: 16,
  locatorsMax: 16,
  subscriptionsMax: 128,
  writersPerSubscriptionMax: 512,
  /** Samples that wait for an earlier one, per writer; then the earlier one is given up. */
  heldSamplesMax: 64,
  /** Of all samples that wait, together. */
  heldBytesMax: 8 * 1024 * 1024,
  sampleBytesMax: 4 * 1024 * 1024,
  /** No transport of RTPS needs fragments smaller than this; accepting them would make bookkeeping outweigh data. */
  fragmentBytesMin: 512,
  assembliesPerWriterMax: 4,
  assembliesMax: 64,
  /** Of all incomplete samples, together. */
  assemblyBytesMax: 16 * 1024 * 1024,
  assemblyMsMax: 10_000,
  /** A peer that says it may be silent for longer is dropped after this long all the same: a lost peer must become visible. */
  leaseMsMax: 60_000,
  leaseMsMin: 500,
} as const;
