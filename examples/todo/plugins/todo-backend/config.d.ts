export interface Config {
  todo?: {
    /**
     * How many entries the list may have. Default: 1000.
     */
    maxItems?: number;
  };
}
