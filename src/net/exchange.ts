import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { ResponseBody } from './response-body.ts';

/** A request as undici sends it. */
export interface OutgoingRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The headers that came, and the body as it comes. */
export interface IncomingAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
}

/** One request and its answer as undici's handler interface tells of them. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #response = Promise.withResolvers<IncomingAnswer>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #received: (bytes: number) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #body: ResponseBody | undefined;
  #aborted: Error | undefined;

  /** `received` is told of each chunk of the body. */
  constructor(received: (bytes: number) => void = () => {}) {
    this.#received = received;
  }

  get response(): Promise<IncomingAnswer> {
    return this.#response.promise;
  }

  /** Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  dispatch(dispatcher: Dispatcher, { method, url, headers, body }: OutgoingRequest): void {
    const path = `${url.pathname}${url.search}`;
    const origin = url.origin;
    dispatcher.dispatch(
      { origin, path, method, headers: { ...headers }, ...(body !== undefined && { body }) },
      this,
    );
  }

  /** At once for whoever waits, although a connection in the making can only be closed later. */
  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#fail(reason);
    this.#controller?.abort(reason);
  }

  /** Aborts with the signal's reason; what is returned ends that. */
  follow(signal: AbortSignal): () => void {
    const leave = (): void => this.abort(signal.reason as Error);
    signal.addEventListener('abort', leave, { once: true });
    const end = (): void => signal.removeEventListener('abort', leave);
    void this.ended.then(end);
    return end;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(this.#aborted);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200) return;
    this.#body = new ResponseBody(controller);
    this.#response.resolve({ status, headers, body: this.#body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#received(chunk.length);
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish();
    this.#ended.resolve();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#response.reject(error);
    this.#body?.finish(error);
    this.#ended.resolve();
  }
}
