/** Text of others in quotes: short, and without anything that a terminal would act upon. */
export function quote(text: string, most = 200): string {
  return JSON.stringify(text.length > most ? `${text.slice(0, most)}…` : text);
}
