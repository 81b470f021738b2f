import type {
  BundleDraft,
  BundleWish,
  DraftReport,
  DraftState,
} from '../../../src/api/bundle-api.ts';
import type { TestMirror } from '../../helpers/mirror.ts';
import { until } from '../../helpers/until.ts';

export interface Answer {
  readonly status: number;
  readonly body: DraftState & { readonly error?: string };
}

/** Asks a mirror for drafts of bundles, as the command does. */
export class DraftClient {
  readonly #url: string;

  constructor({ server }: Pick<TestMirror, 'server'>) {
    this.#url = `${server.adminUrl}/api/v1/bundles/drafts`;
  }

  async begin(wish: Partial<BundleWish> = {}): Promise<Answer> {
    const answer = await fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wish),
    });
    return { status: answer.status, body: (await answer.json()) as Answer['body'] };
  }

  async look(id: string): Promise<Answer> {
    const answer = await fetch(`${this.#url}/${id}`);
    return { status: answer.status, body: (await answer.json()) as Answer['body'] };
  }

  /** To its end, whatever that is. */
  async report(wish: Partial<BundleWish> = {}): Promise<DraftReport & { id: string }> {
    const begun = await this.begin(wish);
    if (begun.status !== 202) throw new Error(JSON.stringify(begun));
    const { id } = begun.body;
    let report: DraftReport | undefined;
    await until('the draft is made', async () => {
      report = (await this.look(id)).body.last;
      return report !== undefined;
    });
    return { id, ...report! };
  }

  /** Of a draft that is made, which is ended then. */
  async draft(wish: Partial<BundleWish> = {}): Promise<BundleDraft> {
    const { id, draft, problems } = await this.report(wish);
    await this.end(id);
    if (!draft) throw new Error(JSON.stringify(problems));
    return draft;
  }

  async blob(id: string, digest: string, start: number, end: number): Promise<Response> {
    return fetch(`${this.#url}/${id}/blobs/${digest}?start=${start}&end=${end}`);
  }

  async end(id: string): Promise<number> {
    return (await fetch(`${this.#url}/${id}`, { method: 'DELETE' })).status;
  }
}
