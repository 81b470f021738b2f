import Koa from 'koa';

/** Requests that reached the application of this process: what is hot does not. */
export const applied = { count: 0 };

const application = Koa.prototype as unknown as Record<
  'handleRequest',
  (...given: unknown[]) => unknown
>;
application.handleRequest = new Proxy(application.handleRequest, {
  apply: (target, self, given) => {
    applied.count += 1;
    return Reflect.apply(target, self, given);
  },
});
