import { publishedImages } from './images.ts';
import { Mirror } from './mirror.ts';
import { Netns } from './netns.ts';
import { Registry } from './registry.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';

const run = suite('IPv6 alone');

const SIX = '[::1]';
/** skopeo reads no literals in image names. */
const NAME = 'mirror.test';

run(
  'where no IPv4 is, images are pulled, synced and listed, and commands reach the mirror',
  async (t) => {
    t.timeout(120_000);
    const images = await publishedImages();
    const netns = await Netns.create();
    t.teardown(async () => netns.close());
    await netns.run('ip', '-4', 'address', 'flush', 'dev', 'lo');
    t.is(await netns.run('ip', '-4', 'address'), '');
    const origin = { name: 'origin', host: SIX, port: 5000, data: images.data };
    const registry = await Registry.start(netns, origin);
    const settings = {
      listen: '[::]:8080',
      admin: `${SIX}:8081`,
      upstreams: { 'docker.io': { url: `http://${SIX}:5000`, hydrate: false } },
      sync: { rules: [{ image: 'docker.io/library/legacy', tags: ['1'] }] },
    };
    const mirror = await Mirror.start(netns, settings, SIX);
    t.teardown(async () => {
      if (!t.passed) t.log(await mirror.log());
    });

    const doctor = await mirror.command('doctor', 'library/app:1');
    t.is(doctor.code, 0, doctor.output);
    await netns.run('sh', '-c', `echo ::1 ${NAME} >> /etc/hosts`);
    const skopeo = await Skopeo.create(netns, mirror.url.replace(SIX, NAME));
    await skopeo.pull(images.oci.byTag);
    const synced = await mirror.command('sync', 'run');
    t.is(synced.code, 0, synced.output);
    const listed = await mirror.command('ls');
    t.regex(listed.output, /docker\.io\/library\/app +1 .*complete/);
    t.regex(listed.output, /docker\.io\/library\/legacy +1 .*complete, pinned/);

    await registry.service.stop('SIGKILL');
    await mirror.restart({ ...settings, offline: true }, 'SIGTERM');
    await skopeo.remove();
    await skopeo.pull(images.docker.byTag);
  },
);
