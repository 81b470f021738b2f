import { isDeepStrictEqual } from 'node:util';
import type { RuleReport } from '../api/access-api.ts';
import type { LoadedConfig } from '../config/load.ts';
import { readTextFile } from '../config/source.ts';
import { findLine } from '../config/yaml.ts';

/** How rules are named to people: by their place, and by their line where the file has them as they are in force. */
export class RuleNames {
  readonly #places: ReadonlyMap<
    string,
    { readonly rule: object; readonly line: number | undefined }
  >;
  readonly #file: string | undefined;

  constructor({ config, file }: Pick<LoadedConfig, 'config' | 'file'>) {
    const { rules = [] } = config.access ?? {};
    const text = file === undefined ? '' : readTextFile(file);
    this.#file = file;
    this.#places = new Map(
      rules.map((rule, at) => [
        `access.rules[${at}]`,
        { rule, line: findLine(text, ['access', 'rules', at]) },
      ]),
    );
  }

  /** Of a rule that the file has at this place; `undefined` where it has another one. */
  lineOf({ place, ...report }: RuleReport): { file: string; line: number } | undefined {
    const { rule, line } = this.#places.get(place) ?? {};
    const { who, from, may, images } = report;
    const same = { who, ...(from && { from }), may, ...(images && { images }) };
    if (line === undefined || this.#file === undefined || !isDeepStrictEqual(rule, same))
      return undefined;
    return { file: this.#file, line };
  }

  name(report: RuleReport): string {
    const found = this.lineOf(report);
    return found ? `${report.place} (${found.file}:${found.line})` : report.place;
  }
}
