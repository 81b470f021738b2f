import { z } from 'zod';

/** As the Prometheus Operator names a time. */
const DURATION = z
  .string()
  .regex(/^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$/)
  .min(1);
const LABELS = z.record(z.string(), z.string());
const SELECTOR = z.strictObject({
  matchLabels: LABELS.optional(),
  matchExpressions: z
    .array(z.strictObject({ key: z.string(), operator: z.string(), values: z.array(z.string()) }))
    .optional(),
});
const METADATA = z.strictObject({ name: z.string(), namespace: z.string(), labels: LABELS });
const RULE = z.strictObject({
  alert: z.string().optional(),
  record: z.string().optional(),
  expr: z.string().min(1),
  for: DURATION.optional(),
  labels: LABELS.optional(),
  annotations: LABELS.optional(),
});

/** The keys that their definitions have and the chart may use: no package here brings them for validators. */
export const CUSTOM_RESOURCES = z.discriminatedUnion('kind', [
  z.strictObject({
    apiVersion: z.literal('monitoring.coreos.com/v1'),
    kind: z.literal('ServiceMonitor'),
    metadata: METADATA,
    spec: z.strictObject({
      jobLabel: z.string().optional(),
      selector: SELECTOR,
      namespaceSelector: z.strictObject({ matchNames: z.array(z.string()) }).optional(),
      endpoints: z.array(
        z.strictObject({ port: z.string(), path: z.string(), interval: DURATION }),
      ),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('monitoring.coreos.com/v1'),
    kind: z.literal('PrometheusRule'),
    metadata: METADATA,
    spec: z.strictObject({
      groups: z.array(
        z.strictObject({
          name: z.string().min(1),
          interval: DURATION.optional(),
          rules: z.array(RULE).min(1),
        }),
      ),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('grafana.integreatly.org/v1beta1'),
    kind: z.literal('GrafanaDashboard'),
    metadata: METADATA,
    spec: z.strictObject({
      instanceSelector: SELECTOR,
      configMapRef: z.strictObject({ name: z.string(), key: z.string() }),
    }),
  }),
]);
