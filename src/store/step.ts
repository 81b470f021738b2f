/** Told the name of each point at which a crash must lose nothing; tests end the process there. */
export type Step = (name: string) => void;

export const noStep: Step = () => undefined;
