/** The images of a list, one a line; what follows a `#` is a comment. */
export function parseImageList(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}
