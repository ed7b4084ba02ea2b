/** Types of the results, which have the names and fields of the Python package, and of the exported definition. */

/** Ends of a prediction interval. */
export interface Interval {
  low: number;
  high: number;
}

/** A score: its key, its name, its range. */
export interface Target {
  key: ScoreKey;
  name: string;
  low: number;
  high: number;
  higher_is_better: boolean;
  unit: string;
  standard: string;
  /** Description in one sentence */
  says: string;
  /** Whether the scale is logarithmic */
  log: boolean;
  /** log10 or value = slope * value on the training scale + offset */
  slope: number;
  offset: number;
}

export type ScoreKey = "s_mos" | "n_mos" | "g_mos" | "pesq_est" | "stoi_est" | "sdi_est";
export type Level = "ok" | "caution" | "refused";

/** A flag: what to consider when interpreting scores, or why there are none. */
export interface Flag {
  key: string;
  level: Level;
  /** Field of `Measurements` that is compared with the threshold */
  measurement: string | null;
  below: boolean;
  threshold: number | null;
  unit: string;
  summary: string;
  reason: string;
  advice: string;
  limit: string;
}

/** A kind of degradation. */
export interface Cause {
  key: string;
  name: string;
  advice: string;
}

/** The six scores; null if there is an error, or if the model does not have this score. */
export type Values = Record<ScoreKey, number | null>;

/** Scores over time. */
export interface Track {
  /** Centre of each frame in seconds from the start of the recording */
  times_s: number[];
  /** Scores of each frame, in the order of `targets` */
  values: number[][];
  targets: ScoreKey[];
  /** Probabilities of the kinds of degradation of each frame; null for a model without causes */
  causes: number[][] | null;
  cause_keys: string[];
}

/** Scores of one window of a recording. */
export interface WindowScores {
  start_s: number;
  end_s: number;
  /** Weight of the window in the overall scores, 0 to 1 */
  weight: number;
  values: number[];
  targets: ScoreKey[];
  intervals: Partial<Record<ScoreKey, Interval>>;
}

/** Scores of one recording, or the reason why there are none (`error`). */
export interface Scores extends Values {
  /** 90 % prediction intervals; empty for a model that was not calibrated */
  intervals: Partial<Record<ScoreKey, Interval>>;
  file: string | null;
  /** Number of the channel, from 1; null for the mean of all channels */
  channel: number | null;
  duration_s: number | null;
  model: string;
  model_sha256: string;
  version: string;
  flags: string[];
  /** `ok`, `caution` (interpret the scores with care, see `flags`) or `refused` (no scores) */
  level: Level;
  /** Reason why there are no scores */
  error: string | null;
  /** Probability of each kind of degradation; empty for a model without causes */
  causes: Record<string, number>;
  /** Distance from the training clips; null for a model that does not measure it */
  distance: number | null;
  /** Causes of low quality in a sentence; empty if none was found */
  cause: string;
  windows: WindowScores[];
  track: Track | null;
}

/** What the flags are derived from; see `Measurements` in the Python module `audio/flags.py`. */
export interface Measurements {
  duration_s: number;
  peak: number;
  loudest_dbov: number;
  active_dbov: number;
  clipped_fraction: number;
  trimmed_s: number;
  active_fraction: number;
  dc_offset: number;
  bandwidth_fraction: number;
  spectral_change: number;
  tonal_persistence: number;
  source_rate: number;
  channels_cancel: boolean;
  channel_correlation: number;
  truncated: boolean;
}

/** Width of the intervals of one target. */
export interface Band {
  weights: number[];
  lowest: number;
  highest: number;
  factor: number;
}

/** Record of a model. */
export interface ModelRecord {
  name: string;
  targets: ScoreKey[];
  features: string[];
  peak_normalise: boolean;
  frame_rate_hz: number;
  sha256: string;
  licence: string;
  track?: boolean;
  local?: boolean;
  distance?: boolean;
  causes?: Record<string, { slope: number; offset: number }>;
  intervals?: { coverage: number; bands: Record<string, Band> };
  /** Size of the .onnx file */
  bytes?: number;
}

/** Content of definition.json, which `python -m research.browser_definition` writes. */
export interface Definition {
  version: string;
  sample_rate: number;
  rates: [number, number];
  block_values: number;
  columns: string[];
  decimals: number;
  significant_digits: number;
  targets: Target[];
  causes: { kinds: Cause[]; present: number; shortest_s: number; whole: number };
  flags: Flag[];
  levels: Level[];
  limits: { min_duration_s: number; silent_dbov: number; max_channels: number; max_held_s: number };
  channels: { cancel_power: number; audible_power: number };
  level: {
    step: number; time_constant: number; hangover: number; margin_db: number; thresholds: number[]; frame: number;
    floor_db: number; smoother: number[];
  };
  analysis: {
    trim_s: number; flat_top_quantile: number; flat_top_tolerance: number; block: number;
  };
  detection: {
    segment: number; rest: number; group: number; measured: number; min_tonal_s: number; faint_db: number;
    unscaled_dbov: number; short_window: number; short_hop: number; long_window: number; long_hop: number;
    range_db: number; pause_db: number; smooth: number; slow: number; lag: number; around: number; least: number;
    band_hz: number; reach_db: number; lowest_hz: number; fine: [number, number]; mel_edges: number[];
    cosines: number[][];
  };
  features: {
    logmel: { window: number; hop: number; floor: number; width: number; bands: { first: number; weights: number[] }[] };
    spectrum: { window: number; hop: number; width: number };
    wave: { hop: number; width: number };
  };
  windows: { max_s: number };
  intervals: { smallest_distance: number };
  stream: { hop_s: number };
  over_time: { stretch_s: number; hop_s: number; max_values: number };
  worst: {
    shortest_s: number; shortest_stretch_s: number; longest_share: number; length_power: number; cause_weight: number;
    least_odds: number; most_frames: number; stands_out: number; stands_out_with_causes: number;
  };
  compare: { same: Record<string, number>; same_mos: number; resamples: number; level: number };
  omitted_flags: Record<string, string>;
  models: Record<string, ModelRecord>;
}
