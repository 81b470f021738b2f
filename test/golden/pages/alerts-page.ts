import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const RULES = join(import.meta.dirname, '../../../grafana/rules/alerts.yaml');
const URGENCY: Readonly<Record<string, string>> = {
  page: 'To be looked at **now**',
  ticket: 'To be looked at **this week**',
  info: '**For information**',
};

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly runbook: string };
}

interface Group {
  readonly name: string;
  readonly rules: readonly Alert[];
}

/** Every alert: how urgent it is, when it rises, and its runbook. */
export function alertsPage(): string {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as { groups: readonly Group[] };
  return groups
    .map(({ name, rules }) => `## ${titleOf(name)}\n\n${rules.map(describe).join('\n')}`)
    .join('\n');
}

function titleOf(name: string): string {
  const words = name.replace('entrepot-', '');
  return `${words[0]?.toUpperCase()}${words.slice(1)}`;
}

function describe({ alert, expr, for: wait, labels, annotations }: Alert): string {
  const after = wait === undefined ? '' : `, when it has been so for ${wait}`;
  const when = `\`\`\`promql\n${expr.trim()}\n\`\`\``;
  const urgency = `${URGENCY[labels.severity]} (\`${labels.severity}\`)${after}`;
  return `### ${alert}\n\n${urgency}. ${annotations.runbook.trim()}\n\n${when}\n`;
}
