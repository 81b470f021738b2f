/** `policy check` of what scanners found, in the reports that their adapters wrote. */
import test, { type ExecutionContext } from 'ava';
import type { AdapterForm } from '../admission/vulnerabilities/adapter-form.ts';
import { FakeAdapter } from '../admission/vulnerabilities/fake-adapter.ts';
import { GRYPE } from '../admission/vulnerabilities/grype-form.ts';
import { TRIVY } from '../admission/vulnerabilities/trivy-form.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { AccessSite } from './run-access.ts';

/** What the command prints of the image that the captured reports are about. */
async function check(t: ExecutionContext, form: AdapterForm, rule: string) {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage(REPOSITORY, 'latest', image);
  const adapter = await FakeAdapter.start(t, { form });
  const yaml = [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${await claimPort()}`,
    `store: { minFreeBytes: 0 }\ndefaultUpstream: ${UPSTREAM}`,
    `upstreams: { ${UPSTREAM}: { url: '${registry.url}' } }`,
    `admission:
  scanner: { adapter: '${adapter.url.href}', registry: 'http://mirror.example:5000' }
  rules:
    - images: ['${UPSTREAM}/**']
      mode: enforce
      ${rule}`,
  ].join('\n');
  const site = new AccessSite(t, yaml);
  const { url } = await site.serve();
  const { status } = await get(`${url}/v2/${REPOSITORY}/manifests/latest`);
  const { code, stdout } = await site.run('policy', 'check', `${REPOSITORY}:latest`);
  const head = `${UPSTREAM}/${REPOSITORY}
  admission  ${code === 0 ? 'admitted' : 'refused'}
  judged     ${UPSTREAM}/${REPOSITORY}@${image.manifest.digest}
  admission.rules[0] (DIR/entrepot.yaml:9), enforce: ${code === 0 ? 'admitted' : 'refused'}
`;
  t.is(stdout.slice(0, head.length), head);
  return { status, code, stdout: stdout.slice(head.length) };
}

test('policy check tells what Trivy found above the line, and in which version it is mended', async (t) => {
  t.deepEqual(await check(t, TRIVY, 'vulnerabilities: { atMost: high }'), {
    status: 403,
    code: 1,
    stdout: `    vulnerabilities  refused: 1 vulnerability above high: CVE-2019-18224 (critical, libidn2-0 2.0.5-1, fixed in 2.0.5-1+deb10u1)
      FINDING         SEVERITY  PACKAGE            MENDED           STATE
      CVE-2019-18224  critical  libidn2-0 2.0.5-1  2.0.5-1+deb10u1  counts
`,
  });
  t.deepEqual(await check(t, TRIVY, 'vulnerabilities: { atMost: critical }'), {
    status: 200,
    code: 0,
    stdout: '    vulnerabilities  admitted\n',
  });
});

test('policy check tells what Grype found, and why a finding does not count', async (t) => {
  const rule = `vulnerabilities: { atMost: low, fixableOnly: true }
      exceptions: [{ cve: GHSA-cfh5-3ghh-wfjx, reason: not reached, owner: team-a, until: 2100-01-01 }]`;
  t.deepEqual(await check(t, GRYPE, rule), {
    status: 200,
    code: 0,
    stdout: `    vulnerabilities  admitted, until 2100-01-01T00:00:00.000Z
      FINDING              SEVERITY  PACKAGE           MENDED  STATE
      GHSA-cfh5-3ghh-wfjx  medium    httpclient 4.1.1  4.3.5   lifted: team-a answers for it until 2100-01-01T00:00:00.000Z: not reached
      CVE-2014-3577        medium    httpclient 4.1.1          lifted: no version mends it
`,
  });
});
