/** What a list of images says, one entry a line or an item of JSON. */
export interface ImageList {
  /** In order, blank ones and comments too: the place in the list tells people which one is meant. */
  readonly entries: readonly string[];
  /** False where the last line has no end: its writer may have more to say. */
  readonly isWhole: boolean;
}

/** One entry as tools write it. Both are empty for a blank line, a comment, or a heading. */
export interface ListedImages {
  readonly images: readonly string[];
  /** Images that have no name to pin: `<none>:<none>`, an id, the `null` of `jq`. */
  readonly unnamed: readonly string[];
}

/** Under these names, in any case, `kubectl`, `crictl`, `docker`, `podman` and `nerdctl` write images. */
const TEXT_KEYS = new Set(['image', 'imageid']);
const LIST_KEYS = new Set(['repotags', 'repodigests', 'names']);

/**
 * The list in these bytes: lines of text in UTF-8, or in UTF-16 as PowerShell writes them; the JSON of
 * `kubectl get pods -o json` and its like, or one JSON object a line. Throws a `SyntaxError` for JSON
 * that ends early.
 */
export function readImageList(bytes: Uint8Array): ImageList {
  const isWide = bytes[0] === 0xff && bytes[1] === 0xfe;
  // The decoder takes the byte order mark away.
  const text = new TextDecoder(isWide ? 'utf-16le' : 'utf-8').decode(bytes);
  if (/^\s*[[{]/.test(text)) return { entries: readJson(text), isWhole: true };
  const lines = text.split('\n');
  const isWhole = lines.at(-1) === '';
  return { entries: isWhole && lines.length > 1 ? lines.slice(0, -1) : lines, isWhole };
}

/** `[]` alone is a list without entries; other JSON without images has one that names none. */
function readJson(text: string): readonly string[] {
  const documents = isJsonLines(text) ? text.trim().split('\n') : [text];
  const entries = new Set<string>();
  const add = (image: unknown): void => {
    if (typeof image === 'string') entries.add(image);
  };
  for (const document of documents) {
    const value: unknown = JSON.parse(document, (key, value: unknown) => {
      const name = key.toLowerCase();
      if (TEXT_KEYS.has(name)) add(value);
      else if (LIST_KEYS.has(name) && Array.isArray(value)) value.forEach(add);
      else if (isRow(value)) add(`${value.Repository}:${value.Tag}`);
      return value;
    });
    if (!Array.isArray(value)) continue;
    if (value.length === 0 && documents.length === 1) return [];
    value.forEach(add);
  }
  return entries.size === 0 ? [''] : [...entries];
}

/** As `docker images --format json` writes. */
function isJsonLines(text: string): boolean {
  const [first = '', second = ''] = text.trim().split('\n', 2);
  return first.trimEnd().endsWith('}') && second.startsWith('{');
}

function isRow(value: unknown): value is { Repository: string; Tag: string } {
  return typeof value === 'object' && value !== null && 'Repository' in value && 'Tag' in value;
}

/** What `docker-pullable://`, `docker://`, `containerd://` and pasted web addresses begin with. */
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** Of a configuration or a container; a registry takes no repository of 64 such digits either. */
const ID = /^(?:sha256:)?(?:[0-9a-f]{12}|[0-9a-f]{64})$/;
/** Marks of lists in YAML and of `grep image:`. */
const MARKS = new Set(['-', 'image:', '-image:']);

/**
 * The images of one entry: a name alone, several with blanks between as `kubectl -o jsonpath` prints
 * them, one after its count (`uniq -c`), or a row of the table of `docker images` or `crictl images`.
 * Names are not checked here.
 */
export function readListed(entry: string): ListedImages {
  const [text = ''] = entry.split('#', 1);
  const words = text
    .split(/[\s,]+/)
    .map((word) => word.replace(/^["']|["']$/g, ''))
    .filter((word) => word !== '' && !MARKS.has(word));
  if (words.length > 1 && /^\d+$/.test(words[0] ?? '')) words.shift();
  const [first = '', second = '', third = ''] = words;
  // The heading of a table.
  if (words.length > 1 && /^[A-Z]+$/.test(first)) return { images: [], unnamed: [] };
  const isRow = words.length > 2 && ID.test(third);
  const isPair = words.length === 2 && text.includes('\t') && !/[/:@]/.test(second);
  if (isRow || isPair) return sort([`${first}:${second}`]);
  if (words.length > 1 && ID.test(second)) return sort([first]);
  const areNames = words.every((word) => /[/:@]/.test(word));
  // What is none of these is one name that cannot be, for the caller to refuse.
  return sort(words.length < 2 || areNames ? words : [words.join(' ')]);
}

function sort(words: readonly string[]): ListedImages {
  const names = words.map((word) => word.replace(SCHEME, ''));
  const isUnnamed = (name: string): boolean =>
    name.includes('<') || name === 'null' || ID.test(name);
  return {
    images: names.filter((name) => !isUnnamed(name)),
    unnamed: names.filter(isUnnamed),
  };
}
