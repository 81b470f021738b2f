import { registerHooks } from 'node:module';
import test from 'ava';
import { FakeCollector } from '../helpers/fake-collector.ts';
import { startScene } from '../helpers/scene.ts';

test('nothing of OpenTelemetry is loaded until spans are to be sent', async (t) => {
  const loaded = new Set<string>();
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const [, name] = /^(@opentelemetry\/[\w-]+)/.exec(specifier) ?? [];
      if (name !== undefined) loaded.add(name);
      return next(specifier, context);
    },
  });
  t.teardown(() => hooks.deregister());
  const plain = await startScene(t);
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  await plain.manifest('latest', { headers: { traceparent } });
  t.deepEqual([...loaded], []);
  const collector = await FakeCollector.start(t);
  await startScene(t, { tracing: { otlp: collector.url } });
  t.true(loaded.has('@opentelemetry/sdk-trace'));
  t.true(loaded.has('@opentelemetry/exporter-trace-otlp-proto'));
});
