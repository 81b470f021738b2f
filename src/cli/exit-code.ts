/** What a shell or a service manager learns; the numbers above 1 are those of sysexits. */
export const EXIT_CODE = {
  ok: 0,
  failed: 1,
  /** The command line is wrong. */
  usage: 64,
  /** The configuration is wrong. */
  config: 78,
  /** Stopped by a signal before its orderly end. */
  interrupted: 130,
} as const;
