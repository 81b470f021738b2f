import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { digestOf, type Image } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { until } from '../../helpers/until.ts';
import { missingPackages, missingRights, testUnless } from '../../helpers/needs.ts';
import { realImage, writeFiles } from './layout-folder.ts';
import { blobsOf, layoutOf, named, startSite, type Site } from './layout-site.ts';

const test = testUnless('what skopeo writes to a file', missingPackages('skopeo'));
const testPodman = testUnless(
  'what podman saves to a file',
  missingPackages('podman') ?? missingRights(),
);
const testDocker = testUnless(
  'what docker saves to a file',
  missingPackages('dockerd', 'skopeo') ?? missingRights(),
);

/** A folder with the image as an OCI layout, `oci:layout:x`, where tools run. */
async function createFolder(t: ExecutionContext, image: Image) {
  const folder = await createTempFolder(t);
  const root = named(image.manifest, 'registry.example/app:x', 'x');
  await writeFiles(join(folder, 'layout'), layoutOf([root], blobsOf(image)));
  const policy = { default: [{ type: 'insecureAcceptAnything' }] };
  await writeFile(join(folder, 'policy.json'), JSON.stringify(policy));
  const run = async (command: string, ...args: string[]): Promise<string> =>
    (await promisify(execFile)(command, args, { cwd: folder })).stdout;
  return {
    folder,
    copy: async (from: string, to: string) =>
      run('skopeo', '--policy', 'policy.json', 'copy', from, to),
    podman: async (...args: string[]) =>
      run(
        'podman',
        `--root=${folder}/root`,
        `--runroot=${folder}/run`,
        `--tmpdir=${folder}/tmp`,
        '--storage-driver=vfs',
        '--cgroup-manager=cgroupfs',
        '--events-backend=none',
        ...args,
      ),
    docker: async (...args: string[]) =>
      run('docker', `--host=unix://${folder}/docker.sock`, ...args),
    bring: async (site: Site, file: string, options: { ref?: string } = {}) =>
      site.bring(await readFile(join(folder, file)), 'app:v1', options),
  };
}

/** By tag and by digest, every byte of it. */
async function isPulled(t: ExecutionContext, site: Site, image: Image): Promise<void> {
  const { digest, bytes } = image.manifest;
  for (const reference of ['v1', digest]) {
    const answer = await site.pull(`manifests/${reference}`);
    t.deepEqual([answer.headers['docker-content-digest'], answer.body], [digest, bytes]);
  }
  for (const blob of image.blobs) {
    t.deepEqual((await site.pull(`blobs/${blob.digest}`)).body, blob.bytes);
  }
}

interface Pulled {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly mediaType: string; readonly digest: string }[];
}

/** The layers of a docker-archive are the tars themselves, and its config tells of the same. */
async function isPulledUncompressed(
  t: ExecutionContext,
  site: Site,
  { config, tars }: { config: Image['config']; tars: readonly Buffer[] },
): Promise<void> {
  const answer = await site.pull('manifests/v1');
  t.is(answer.headers['docker-content-digest'], digestOf(answer.body));
  const manifest = JSON.parse(answer.body.toString()) as Pulled;
  t.deepEqual(
    manifest.layers.map(({ mediaType, digest }) => [mediaType, digest]),
    tars.map((tar) => ['application/vnd.oci.image.layer.v1.tar', digestOf(tar)]),
  );
  for (const tar of tars) t.deepEqual((await site.pull(`blobs/${digestOf(tar)}`)).body, tar);
  const bytes = (await site.pull(`blobs/${manifest.config.digest}`)).body;
  const told = (JSON.parse(bytes.toString()) as { rootfs: unknown }).rootfs;
  t.deepEqual(told, (JSON.parse(config.bytes.toString()) as { rootfs: unknown }).rootfs);
}

test('an oci-archive of skopeo is pulled with its own digests', async (t) => {
  const image = await realImage('skopeo');
  const { copy, bring } = await createFolder(t, image);
  await copy('oci:layout:x', 'oci-archive:app.tar:x');
  const site = await startSite(t);
  const { report } = await bring(site, 'app.tar', { ref: 'x' });
  t.like(report, { form: 'oci-layout', digest: image.manifest.digest, skipped: 0 });
  await isPulled(t, site, image);
});

test('a docker-archive of skopeo is pulled as an OCI image', async (t) => {
  const image = await realImage('skopeo');
  const { copy, bring } = await createFolder(t, image);
  await copy('oci:layout:x', 'docker-archive:app.tar:registry.example/app:x');
  const site = await startSite(t);
  const { report } = await bring(site, 'app.tar', { ref: 'registry.example/app:x' });
  t.like(report, { form: 'docker-archive', platforms: ['linux/amd64'] });
  await isPulledUncompressed(t, site, image);
});

testPodman('what podman saves in either form is pulled', async (t) => {
  const image = await realImage('podman');
  const { podman, bring } = await createFolder(t, image);
  const id = (await podman('pull', '--quiet', 'oci:layout:x')).trim();
  await podman('tag', id, 'registry.example/app:x');
  await podman('save', '--quiet', '--format=docker-archive', '--output=docker.tar', id);
  await podman('save', '--quiet', '--format=oci-archive', '--output=oci.tar', id);
  const site = await startSite(t);
  const archive = await bring(site, 'docker.tar');
  t.is(archive.report.form, 'docker-archive', archive.error);
  await isPulledUncompressed(t, site, image);
  const layout = await bring(site, 'oci.tar');
  t.is(layout.report.form, 'oci-layout', layout.error);
  const saved = await site.pull('manifests/v1');
  t.is(saved.headers['docker-content-digest'], layout.report.digest);
  for (const { digest } of (JSON.parse(saved.body.toString()) as Pulled).layers) {
    t.is(digestOf((await site.pull(`blobs/${digest}`)).body), digest);
  }
});

testDocker('what docker saves is pulled', async (t) => {
  const image = await realImage('docker');
  const { folder, copy, docker, bring } = await createFolder(t, image);
  await copy('oci:layout:x', 'docker-archive:app.tar:registry.example/app:x');
  const places = [
    `--data-root=${folder}/data`,
    `--exec-root=${folder}/exec`,
    `--pidfile=${folder}/pid`,
  ];
  const nets = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  const host = `--host=unix://${folder}/docker.sock`;
  const daemon = spawn('dockerd', [...places, ...nets, host, '--storage-driver=vfs'], {
    stdio: 'ignore',
  });
  const gone = once(daemon, 'exit');
  t.teardown(async () => {
    daemon.kill();
    await gone;
  });
  await until('dockerd', async () => docker('version').catch(() => ''));
  await docker('load', '--input=app.tar');
  await docker('save', '--output=saved.tar', 'registry.example/app:x');
  const site = await startSite(t);
  const { report, error } = await bring(site, 'saved.tar', { ref: 'registry.example/app:x' });
  t.is(error, undefined);
  t.deepEqual(report.platforms, ['linux/amd64']);
  if (report.form === 'docker-archive') await isPulledUncompressed(t, site, image);
  else t.is((await site.pull('manifests/v1')).headers['docker-content-digest'], report.digest);
});
