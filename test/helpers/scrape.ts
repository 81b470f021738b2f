import { deepStrictEqual } from 'node:assert';
import { Metrics } from '../../src/observe/metrics.ts';
import { get } from './client.ts';

export type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** The labels of each metric with the values that they may have. */
const DECLARED = new Metrics().labels;

/** What `/metrics` said at one moment. Throws where a label has a value that its metric does not declare. */
export class Scrape {
  readonly samples: readonly Sample[];
  readonly text: string;

  static async of(url: string): Promise<Scrape> {
    const { body, headers, status } = await get(`${url}/metrics`);
    if (status !== 200 || headers['content-type']?.startsWith('text/plain') !== true) {
      throw new Error(`${status} ${headers['content-type']}`);
    }
    return new Scrape(body.toString());
  }

  constructor(text: string) {
    this.text = text;
    this.samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const [, name = '', labels = '', value = ''] =
          /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        const pairs = labels.matchAll(/(\w+)="([^"]*)"/g);
        return {
          name: name.replace(/^entrepot_/, ''),
          labels: Object.fromEntries([...pairs].map(([, label, text]) => [label, text])) as Labels,
          value: value === '+Inf' ? Infinity : Number(value),
        };
      });
    deepStrictEqual(this.samples.filter(isStrange), []);
  }

  /** The sum over all series of a metric that have these labels; `undefined` where there is none. */
  find(name: string, labels: Labels = {}): number | undefined {
    const found = this.samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  /** As `find`; throws where there is no such series. */
  sum(name: string, labels: Labels = {}): number {
    const sum = this.find(name, labels);
    if (sum === undefined) throw new Error(`no ${name} ${JSON.stringify(labels)}`);
    return sum;
  }

  /** Name and labels of each series, those of the process apart. */
  get series(): string[] {
    const own = this.samples.filter(({ name }) => !/^(?:process|nodejs)_/.test(name));
    return own.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`);
  }
}

function isStrange({ name, labels }: Sample): boolean {
  const metric = `entrepot_${name}`;
  const declared =
    DECLARED.get(metric) ?? DECLARED.get(metric.replace(/_(?:bucket|sum|count)$/, ''));
  return Object.entries(declared ?? {}).some(
    ([label, values]) => values.length > 0 && !values.includes(labels[label] ?? ''),
  );
}
