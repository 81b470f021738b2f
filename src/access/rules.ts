import type { RulePart, RuleReport, RuleVerdict } from '../api/access-api.ts';
import { includesWish, PULL_VERBS, ROLES, type Role, type Verb } from '../config/access-schema.ts';
import { parseGlob, parseGlobs } from '../config/glob.ts';
import { HostList } from '../config/host-list.ts';
import type { Config } from '../config/config.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { ANONYMOUS, type Subject } from './subject.ts';

type RuleConfig = NonNullable<Config['access']>['rules'][number];
export type { Role, Verb };

/** Who asks, and from where; no address at a socket in a folder. */
export interface Asker {
  readonly subject: Subject;
  readonly address: string | undefined;
}

interface Question {
  readonly asker: Asker;
  readonly wish: Verb | Role;
  /** With its registry; a role is about none. */
  readonly image?: string;
}

export type Openness = 'everybody' | 'network';

const NOBODY: Asker = { subject: ANONYMOUS, address: undefined };
const WISHES = [...PULL_VERBS, ...ROLES];
/** In the order in which they are looked at. */
const PARTS: readonly RulePart[] = ['may', 'images', 'from', 'who'];
/** Rules that would nearly give what is refused; more help nobody. */
const MAX_NEAREST = 10;
/** Names and images that each rule remembers: those that are asked for all the time are matched once. */
const MAX_REMEMBERED = 100;

/**
 * Who may do what: what no rule gives is refused. A rule for `anonymous` is for everybody. The name of
 * an image is that of its upstream and repository, however it was asked for.
 */
export class Rules {
  readonly #rules: readonly Rule[];
  readonly #isAboutNetworks: boolean;

  constructor(rules: readonly RuleConfig[]) {
    this.#isAboutNetworks = rules.some(({ from }) => from !== undefined);
    this.#rules = rules.map((rule, place) => new Rule(rule, `access.rules[${place}]`));
  }

  allow(asker: Asker, verb: Verb, target: Target): boolean {
    return this.#giving({ asker, wish: verb, image: formatTarget(target) }) !== undefined;
  }

  /** For whom it needs no name: for everybody, or for who asks from this address. */
  openTo(verb: Verb, target: Target, address: string | undefined): Openness | undefined {
    const question = { asker: NOBODY, wish: verb, image: formatTarget(target) };
    if (this.#giving(question)) return 'everybody';
    if (!this.#isAboutNetworks) return undefined;
    return this.#giving({ ...question, asker: { ...NOBODY, address } }) && 'network';
  }

  /** Whether any rule is for who has this name. */
  names(name: string): boolean {
    return this.#rules.some((rule) => rule.names(name));
  }

  /** Whether there are images at all for which a rule gives it. */
  allowsSome(asker: Asker, verb: Verb): boolean {
    return this.#giving({ asker, wish: verb }) !== undefined;
  }

  /** At the admin door. */
  hasRole(asker: Asker, role: Role): boolean {
    return this.#giving({ asker, wish: role }) !== undefined;
  }

  /** As `allow`, with the rule that decides; of a refusal the rules of which one part alone is in the way. */
  explain(asker: Asker, verb: Verb, target: Target): RuleVerdict {
    const question = { asker, wish: verb, image: formatTarget(target) };
    const by = this.#giving(question);
    if (by) return { isAllowed: true, by: by.report };
    const nearest = this.#rules.flatMap((rule) => {
      const [lacks, ...others] = rule.lacks(question);
      return lacks === undefined || others.length > 0 ? [] : [{ ...rule.report, lacks }];
    });
    // Those of the image come first, for every other rule of the subject is about other images.
    const sorted = nearest.toSorted(
      (one, other) => Number(one.lacks === 'images') - Number(other.lacks === 'images'),
    );
    return { isAllowed: false, nearest: sorted.slice(0, MAX_NEAREST) };
  }

  /** The rules that give this of an image to somebody. */
  about(verb: Verb, target: Target): RuleReport[] {
    const question = { asker: NOBODY, wish: verb, image: formatTarget(target) };
    return this.#rules
      .filter((rule) => rule.lacks(question).every((part) => part === 'who' || part === 'from'))
      .map(({ report }) => report);
  }

  #giving(question: Question): Rule | undefined {
    return this.#rules.find((rule) => rule.gives(question));
  }
}

class Rule {
  readonly report: RuleReport;
  readonly #may: ReadonlySet<Verb | Role>;
  readonly #isOpen: boolean;
  readonly #isNamed: (name: string) => boolean;
  readonly #isImage: (image: string) => boolean;
  readonly #from: HostList | undefined;

  constructor(config: RuleConfig, place: string) {
    const { who, from, may, images = [] } = config;
    this.report = { place, ...config };
    this.#may = new Set(WISHES.filter((wish) => may.some((each) => includesWish(each, wish))));
    this.#isOpen = who.includes('anonymous');
    const patterns = who.map((each) => parseGlob(each));
    this.#isNamed = remembering((name) => patterns.some((pattern) => pattern.matches(name)));
    this.#isImage = remembering(parseGlobs(images));
    this.#from = from && new HostList(`${place}.from`, from);
  }

  /** Where every part holds. */
  gives(question: Question): boolean {
    return PARTS.every((part) => this.#holds(part, question));
  }

  /** The parts that are in the way; none where the rule gives what is asked for. */
  lacks(question: Question): RulePart[] {
    return PARTS.filter((part) => !this.#holds(part, question));
  }

  names(name: string): boolean {
    return this.#isNamed(name);
  }

  /** The one place where a part of a rule is matched. */
  #holds(part: RulePart, { asker: { subject, address }, wish, image }: Question): boolean {
    switch (part) {
      case 'may':
        return this.#may.has(wish);
      case 'images':
        return image === undefined || this.#isImage(image);
      case 'from':
        return !this.#from || (address !== undefined && this.#from.has(address, 0));
      case 'who':
        return this.#isOpen || subject.names.some(this.#isNamed);
    }
  }
}

/** The same answers, of which the last ones are remembered: matching takes longer than the rest of a decision. */
function remembering(matches: (text: string) => boolean): (text: string) => boolean {
  const known = new Map<string, boolean>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    if (known.size >= MAX_REMEMBERED) known.clear();
    const found = matches(text);
    known.set(text, found);
    return found;
  };
}
