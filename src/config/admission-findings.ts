import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.ts';
import { findGlob } from './glob.ts';
import { coversGlob } from './glob-cover.ts';
import { imageGlobFault } from './image-glob.ts';
import { describeProblem } from './problems.ts';
import { DOCKER_HUB } from './registries.ts';
import { TEXTS } from './texts.ts';

type Rule = NonNullable<Config['admission']>['rules'][number];

const DAY_MS = 86_400_000;
/** Authorities of the public Sigstore have changed more seldom. */
const OLD_ROOT_DAYS = 30;

/** What rules of admission make of it that is likely not meant: a rule about nothing keeps nothing back. */
export function findAdmissionWarnings(config: Config): string[] {
  const { rules = [] } = config.admission ?? {};
  const registries = { names: Object.keys(config.upstreams), standard: config.defaultUpstream };
  return rules.flatMap((rule, at) => {
    if (rule.mode === 'off') return [];
    const path = ['admission', 'rules', at];
    const ofAnybody = (rule.signedBy ?? []).flatMap(({ notation }, place) =>
      rule.mode === 'enforce' && notation?.level === 'audit'
        ? [describeProblem([...path, 'signedBy', place, 'notation'], TEXTS.admissionAnybody)]
        : [],
    );
    const faults = rule.images.map((glob) => imageGlobFault(glob, registries));
    const told = [
      ...ofAnybody,
      ...faults.flatMap((fault, place) =>
        fault === undefined ? [] : [describeProblem([...path, 'images', place], fault)],
      ),
    ];
    if (faults.every((fault) => fault !== undefined)) {
      return [...told, describeProblem(path, TEXTS.admissionIdle)];
    }
    const other = rules.findIndex((each, place) => place !== at && isIdle(rules, at, place, each));
    return other < 0 ? told : [...told, describeProblem(path, TEXTS.admissionCovered({ other }))];
  });
}

/** What a server does not look at: the age of the trust root, and clients that do not obey. */
export function findAdmissionFindings(
  { access, admission, upstreams }: Config,
  now: number,
): string[] {
  const enforcing = (admission?.rules ?? []).filter(({ mode }) => mode === 'enforce');
  const root = admission?.trust.sigstore?.trustedRoot;
  const isTraced = enforcing.some(({ signedBy = [], attestedBy = [] }) =>
    [...signedBy, ...attestedBy].some(({ identity }) => identity !== undefined),
  );
  const days = root !== undefined && isTraced ? ageOf(root, now) : undefined;
  const ofHub = enforcing.some(({ images }) => images.some(isOfHub));
  const path = ['admission', 'trust', 'sigstore', 'trustedRoot'];
  return [
    ...(days !== undefined && days >= OLD_ROOT_DAYS
      ? [describeProblem(path, TEXTS.trustRootOld({ days }))]
      : []),
    ...(ofHub && !access && upstreams[DOCKER_HUB]
      ? [describeProblem(['admission'], TEXTS.accessDocker)]
      : []),
  ];
}

function isOfHub(glob: string): boolean {
  const [registry = ''] = glob.split('/');
  return registry.includes('**') || findGlob(registry)?.matches(DOCKER_HUB) === true;
}

/** In days; `undefined` where the file is gone. */
function ageOf(path: string, now: number): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && Math.floor((now - found.mtimeMs) / DAY_MS);
}

/** Whether a rule refuses nothing that another one does not refuse; of two that are the same, the later. */
function isIdle(rules: readonly Rule[], at: number, place: number, wide: Rule): boolean {
  const rule = rules[at]!;
  return isCovered(rule, wide) && (place < at || !isCovered(wide, rule));
}

function isCovered(narrow: Rule, wide: Rule): boolean {
  if (wide.mode === 'off' || (wide.mode === 'audit' && narrow.mode === 'enforce')) return false;
  const isOfAll = narrow.images.every((glob) => wide.images.some((each) => coversGlob(each, glob)));
  return isOfAll && asksAtLeast(wide, narrow);
}

/** Whether whatever meets one rule meets another one, too. It says yes only of what is certain. */
function asksAtLeast(wide: Rule, narrow: Rule): boolean {
  const isSigned =
    !narrow.signedBy ||
    wide.signedBy?.every((one) => narrow.signedBy?.some((other) => isDeepStrictEqual(one, other)));
  const isOld = (wide.minAge ?? 0) >= (narrow.minAge ?? 0);
  const ofFindings = ({ vulnerabilities, attestedBy, exceptions }: Rule): object => ({
    vulnerabilities,
    attestedBy: attestedBy ?? wide.signedBy,
    exceptions,
  });
  const isMended =
    !narrow.vulnerabilities || isDeepStrictEqual(ofFindings(narrow), ofFindings(wide));
  return isSigned === true && isOld && isMended;
}
