import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { ExecutionContext } from 'ava';
import { KeyPair } from '@tufjs/repo-mock/dist/key.js';
import {
  createRootMeta,
  createSnapshotMeta,
  createTargetsMeta,
  createTimestampMeta,
} from '@tufjs/repo-mock/dist/metadata.js';
import { collectTargets } from '@tufjs/repo-mock/dist/target.js';
import type { KeyPair as KeyPairFiles } from '../helpers/certificate.ts';
import { serve } from '../helpers/serve.ts';

type Signed = ReturnType<
  typeof createTimestampMeta | typeof createSnapshotMeta | typeof createTargetsMeta
>;

/** A TUF repository at a port of this machine, with one target that is published again and again. */
export class TufRepository {
  readonly keys = new KeyPair();
  /** The root of trust, which its users have beforehand. */
  readonly root = JSON.stringify(createRootMeta(this.keys));
  url = '';
  /** What is asked for gets, by its path; all else is missing. */
  readonly files = new Map<string, string>();

  /** What was asked for, by its path. */
  readonly asked: string[] = [];
  /** Answers in place of the repository, where it does. */
  instead: (...asked: Parameters<RequestListener>) => boolean = () => false;

  /** With a key pair by TLS. */
  static async start(t: ExecutionContext, tls?: KeyPairFiles): Promise<TufRepository> {
    const repository = new TufRepository();
    const answer: RequestListener = (request, response) => {
      repository.asked.push(request.url ?? '');
      if (repository.instead(request, response)) return;
      const body = repository.files.get(request.url ?? '');
      response.writeHead(body === undefined ? 404 : 200).end(body);
    };
    const server = tls ? createSecureServer(tls, answer) : createServer(answer);
    repository.url = (await serve(t, server)).origin;
    return repository;
  }

  /** Each publication has a version. */
  publish(content: string, version: number, expires?: string): void {
    const files = collectTargets([{ name: 'trusted_root.json', content }]);
    const targets = createTargetsMeta(files, this.keys);
    this.#sign(targets, { version });
    const snapshot = createSnapshotMeta(targets, this.keys);
    Object.assign(snapshot.signed.meta['targets.json']!, { version });
    this.#sign(snapshot, { version });
    const timestamp = createTimestampMeta(snapshot, this.keys);
    Object.assign(timestamp.signed.snapshotMeta, { version });
    this.#sign(timestamp, { version, ...(expires !== undefined && { expires }) });
    this.files.set('/timestamp.json', JSON.stringify(timestamp));
    this.files.set('/snapshot.json', JSON.stringify(snapshot));
    this.files.set('/targets.json', JSON.stringify(targets));
    this.files.set('/targets/trusted_root.json', content);
  }

  #sign(meta: Signed, changes: { version: number; expires?: string }): void {
    Object.assign(meta.signed, changes);
    Object.assign(meta, { signatures: {} });
    meta.sign((data) => this.keys.sign(data));
  }
}
