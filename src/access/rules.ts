import { parseGlob, parseGlobs } from '../config/glob.ts';
import { HostList } from '../config/host-list.ts';
import type { Config } from '../config/config.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Subject } from './subject.ts';

type RuleConfig = NonNullable<Config['access']>['rules'][number];
export type Verb = 'pull' | 'list';
export type Role = 'metrics' | 'view' | 'operate' | 'admin';

/** Who asks, and from where; no address at a socket in a folder. */
export interface Asker {
  readonly subject: Subject;
  readonly address: string | undefined;
}

/** What each role includes. */
const INCLUDED: Readonly<Record<Role, readonly Role[]>> = {
  metrics: ['metrics'],
  view: ['view', 'metrics'],
  operate: ['operate', 'view', 'metrics'],
  admin: ['admin', 'operate', 'view', 'metrics'],
};

/**
 * Who may do what: what no rule gives is refused. A rule for `anonymous` is for everybody. The name of
 * an image is that of its upstream and repository, however it was asked for.
 */
export class Rules {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly RuleConfig[]) {
    this.#rules = rules.map((rule, place) => new Rule(rule, `access.rules[${place}]`));
  }

  allow(asker: Asker, verb: Verb, target: Target): boolean {
    const image = formatTarget(target);
    return this.#rules.some((rule) => rule.gives(verb) && rule.isAbout(image) && rule.isFor(asker));
  }

  /** At the admin door. */
  hasRole(asker: Asker, role: Role): boolean {
    return this.#rules.some((rule) => rule.givesRole(role) && rule.isFor(asker));
  }
}

class Rule {
  readonly #config: RuleConfig;
  readonly #isOpen: boolean;
  readonly #isNamed: (name: string) => boolean;
  readonly #isImage: (image: string) => boolean;
  readonly #from: HostList | undefined;

  constructor(config: RuleConfig, path: string) {
    const { who, from, images = [] } = config;
    this.#config = config;
    this.#isOpen = who.includes('anonymous');
    const patterns = who.map((each) => parseGlob(each));
    this.#isNamed = (name) => patterns.some((pattern) => pattern.matches(name));
    this.#isImage = parseGlobs(images);
    this.#from = from && new HostList(`${path}.from`, from);
  }

  gives(verb: Verb): boolean {
    return this.#config.may.includes(verb);
  }

  givesRole(role: Role): boolean {
    return this.#config.may.some(
      (each) => each in INCLUDED && INCLUDED[each as Role].includes(role),
    );
  }

  isAbout(image: string): boolean {
    return this.#isImage(image);
  }

  isFor({ subject, address }: Asker): boolean {
    if (this.#from && (address === undefined || !this.#from.has(address, 0))) return false;
    return this.#isOpen || subject.names.some(this.#isNamed);
  }
}
