/**
 * The routes of the applications that are made after this is called, read from what routes by them: the
 * routers of their middleware, and for the content of repositories the table of its door.
 */
import type { Router } from '@koa/router';
import Koa from 'koa';
import { CONTENT_ROUTES } from '../../src/http/content-routes.ts';

export interface RunningRoutes {
  /** `GET /api/v1/status`, sorted; a path that is an expression stands as its source. */
  readonly routes: readonly string[];
  /** Middleware beside the routers: a route could hide in each. */
  readonly others: number;
}

export function watchRoutes(): {
  clients(): RunningRoutes;
  admin(): RunningRoutes;
  probes(): RunningRoutes;
} {
  const apps = new Set<Koa>();
  const callback = Reflect.get(Koa.prototype, 'callback');
  Koa.prototype.callback = function remembered(this: Koa) {
    apps.add(this);
    return callback.call(this);
  };
  const find = (isMeant: (routes: readonly string[]) => boolean): RunningRoutes => {
    const found = [...apps].map(describe).filter(({ routes }) => isMeant(routes));
    if (found.length === 0) throw new Error('no such application runs');
    return found.at(-1)!;
  };
  const isAdmin = (routes: readonly string[]): boolean => routes.includes('GET /api/v1/status');
  const isProbes = (routes: readonly string[]): boolean => routes.includes('GET /metrics');
  return {
    admin: () => find(isAdmin),
    probes: () => find((routes) => isProbes(routes) && !isAdmin(routes)),
    clients: () => {
      const { routes, others } = find((each) => !isProbes(each));
      const contents = Object.keys(CONTENT_ROUTES).map((what) => `GET …/${what}/…`);
      return { routes: [...contents, ...routes].toSorted(), others };
    },
  };
}

function describe({ middleware }: Koa): RunningRoutes {
  const routers = middleware.filter((each) => 'router' in each) as unknown as { router: Router }[];
  const routes = routers.flatMap(({ router }) =>
    router.stack.flatMap(({ methods, path }) =>
      methods.filter((method) => method !== 'HEAD').map((method) => `${method} ${String(path)}`),
    ),
  );
  return { routes: routes.toSorted(), others: middleware.length - routers.length };
}
