import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** `$2y$` and its kind, with the cost that one guess may take at most. */
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const MAX_COST = 12;
/** What a name may have: Basic authentication ends it with a colon, and a terminal obeys none of it. */
const USER = /^[^\s:\p{C}]{1,128}$/u;
const MAX_USERS = 10_000;

/**
 * The users of a file as `htpasswd -B` writes it, with their hashes. Of one that stands twice the first
 * line counts, as Apache has it. Throws a `ConfigError` that names the lines, and no hash.
 */
export function parseHtpasswd(text: string, path: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  const problems: string[] = [];
  for (const [place, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [user = '', hash = ''] = line.split(':');
    const [, cost] = BCRYPT.exec(hash.trim()) ?? [];
    const where = { path, line: place + 1 };
    if (!USER.test(user)) problems.push(TEXTS.htpasswdUser(where));
    else if (cost === undefined) problems.push(TEXTS.htpasswdHash({ ...where, user }));
    else if (Number(cost) > MAX_COST) {
      problems.push(TEXTS.htpasswdCost({ ...where, user, most: MAX_COST }));
    } else if (!users.has(user)) users.set(user, hash.trim());
  }
  if (users.size > MAX_USERS) problems.push(TEXTS.htpasswdUsers({ path, most: MAX_USERS }));
  if (problems.length > 0) throw new ConfigError(problems.slice(0, 20));
  return users;
}
