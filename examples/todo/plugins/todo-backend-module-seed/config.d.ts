export interface Config {
  todo?: {
    /**
     * The entries that the list starts with.
     */
    seeds?: Array<{
      title: string;
      /** The day it is due, as an ISO date such as `2026-01-31`. */
      due?: string;
    }>;
  };
}
