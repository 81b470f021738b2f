/** What people are told of clients: what is not known, what comes next, when the upstream is asked. */
export const TEXTS = {
  // The mirror.
  addressUnknown: ({ listen, shown }: { listen: string; shown: string }) =>
    `listen: ${listen} tells no address that clients reach this mirror at; name it with --address ${shown}`,
  loopbackOnly: ({ url }: { url: string }) =>
    `${url} is reached on this machine alone; for others name an address with --address`,
  caWithoutTls: '--ca has no use: the address is plain http',
  caUnknown:
    'the authority of the certificate is not named: clients must trust it already, or name it with --ca',
  // When clients ask the upstream.
  fallbackAnyError: 'where the mirror fails, or answers with an error, the upstream is asked',
  fallbackUntilManifest:
    'where the mirror fails before it gave the manifest, the upstream is asked; after that all comes from the mirror',
  noFallback: 'the upstream is never asked: without the mirror nothing is pulled',
  mirrorOnly:
    'rules say who may pull what (access): no file names the upstream, which would give what is refused here',
  mirrorOnlyHere:
    'rules say what may be pulled (admission): no file names the upstream, which would give what is refused here',
  // Where credentials go.
  dockerLogin: ({ host }: { host: string }) =>
    `who may pull more than everybody pulls by the name of the mirror: docker login ${host}; docker pull ${host}/ghcr.io/org/app`,
  dockerAdvisory:
    'registry-mirrors is advisory: what the mirror refuses Docker asks Docker Hub itself for. A login of the mirror is shown to neither registry-mirrors nor hosts.toml, but for images that are pulled by its name; the older image store shows the mirror a login of Docker Hub',
  containerdLogin: ({ folder }: { folder: string }) =>
    `a login of the whole node stands at the end of each hosts.toml below ${folder}, behind ours, which chmod 600 is for then: [header], and below it Authorization = "Basic …", the base64 of USER:PASSWORD; a pod shows the mirror what its pull secret has for the image's own registry`,
  crioLogin: ({ host }: { host: string }) =>
    `the login stands in the file that global_auth_file of crio.conf names: podman login --authfile FILE ${host}; pull secrets of pods are not shown to a mirror`,
  podmanLogin: ({ host }: { host: string }) =>
    `each user logs in to the mirror: podman login ${host}, which buildah and skopeo read too; root has a login of its own`,
  buildkitLogin: ({ host }: { host: string }) =>
    `who builds logs in to the mirror: docker login ${host}; BuildKit asks the client for it by that name`,
  buildkitByName: ({ host }: { host: string }) =>
    `what must come from the mirror alone is named so: FROM ${host}/ghcr.io/org/app`,
  rancherLogin: ({ host, folder }: { host: string; folder: string }) =>
    `the login stands in ${folder}/registries.yaml: under configs, "${host}": { auth: { username: USER, password: PASSWORD } }, and chmod 600`,
  rancherLoginBeside: ({ host, folder }: { host: string; folder: string }) =>
    `the login stands in ${folder}/registries.yaml under configs, "${host}", beside tls: auth: { username: USER, password: PASSWORD }, and chmod 600; where --write is used, write that whole entry yourself and leave --ca out`,
  talosLogin: ({ host }: { host: string }) =>
    `the login is a document of its own, which is applied in the same way: apiVersion v1alpha1, kind RegistryAuthConfig, name "${host}", username, password`,
  kanikoLogin: ({ host }: { host: string }) =>
    `the login stands in /kaniko/.docker/config.json as docker login ${host} writes it`,
  // What comes next.
  readAtEachPull: 'nothing has to be restarted: hosts.toml is read at each pull',
  configPath: ({ folder }: { folder: string }) =>
    `containerd must read ${folder}: under [plugins."io.containerd.cri.v1.images".registry] (version = 3, containerd 2.x) or [plugins."io.containerd.grpc.v1.cri".registry] (version = 2, containerd 1.x) of /etc/containerd/config.toml write config_path = "${folder}"; then: systemctl restart containerd`,
  reloadDocker: 'for daemon.json: systemctl reload docker',
  dockerAtEachPull: 'certs.d is read at each pull',
  dockerStores: ({ host }: { host: string }) =>
    `hosts.toml counts in the containerd image store alone, the default of fresh installations of Docker 29; in the older store only Docker Hub is mirrored, and others are pulled by name: ${host}/ghcr.io/org/app`,
  dockerNoFallback:
    'in the older image store Docker Hub is asked where the mirror fails: only the containerd image store can be kept from it',
  dockerLoopback:
    'from Docker 29.10 on, a named insecure registry ends what holds for loopback otherwise; so all of loopback is named',
  dockerByName: ({ host }: { host: string }) =>
    `to pull ${host}/ghcr.io/org/app by name over plain http, name ${host} in insecure-registries too`,
  reloadCrio: 'systemctl reload crio',
  podmanAtEachPull: 'nothing has to be restarted: podman, buildah and skopeo read it at each pull',
  rootless:
    'a user with a registries.conf of its own, in ~/.config/containers, does not read these files',
  restartBuildkit:
    'systemctl restart buildkit; or for docker buildx: docker buildx create --use --config /etc/buildkit/buildkitd.toml',
  buildkitFallsBack: 'BuildKit asks the upstream where the mirror fails: it cannot be kept from it',
  restartRancher: ({ kind }: { kind: string }) =>
    `on a server: systemctl restart ${kind}${kind === 'k3s' ? '' : '-server'}; on an agent: systemctl restart ${kind}-agent`,
  rancherConfigPath: ({ kind }: { kind: string }) =>
    `${kind} writes the hosts.toml of its containerd from this file: do not use "entrepot clients containerd" beside it`,
  patchTalos: ({ path }: { path: string }) =>
    `talosctl patch machineconfig --nodes NODE --patch @${path}`,
  talosVersion: 'these documents are of Talos 1.12 and later',
  kanikoFlags: 'give these arguments to the executor',
  kanikoCa: ({ path }: { path: string }) => `mount entrepot-ca.crt there as ${path}`,
  // Files that are left as they are.
  cannotMerge:
    'ours cannot be brought in so that all else means what it meant; bring it in by hand',
  isFolder: 'it is a folder; a file is wanted there',
  notToml: 'it is no TOML that can be read; mend it first',
  notYaml: 'it is no YAML that can be read as one map; mend it first',
  otherForm: ({ key }: { key: string }) =>
    `${key} stands there in a form that has no room for ours; bring it in by hand`,
  notAnObject: 'it is no JSON object; mend it first',
  notAList: ({ list }: { list: string }) =>
    `${list} is no list, or stands there twice; mend it first`,
  editedList: ({ list, values }: { list: string; values: string }) =>
    `${list} was edited around ours; take out ${values} by hand`,
  brokenMarks: 'one of the two marks around ours is gone; take out ours and the other mark by hand',
  brokenRecord: ({ path }: { path: string }) =>
    `${path}, which tells what is ours, cannot be read; take out ours by hand, then that file`,
  recordAbout:
    'what "entrepot clients docker --write" put into daemon.json; --remove takes it out by this file',
  noTextFile: 'it is no text file',
  linksInCircle: 'its links lead in a circle',
  noConfigPath: ({ folder }: { folder: string }) =>
    `config_path is not set, so that containerd reads no hosts.toml; write config_path = "${folder}" under [plugins."io.containerd.cri.v1.images".registry] (version = 3) or [plugins."io.containerd.grpc.v1.cri".registry] (version = 2), and restart containerd`,
  configPathConflict: ({ key }: { key: string }) =>
    `it has ${key} of the registry, which containerd refuses beside config_path; move that into hosts.toml, set config_path, and restart containerd`,
  otherTable: ({ registry, path }: { registry: string; path: string }) =>
    `${path} has a table of ${registry} that ours would take the place of; bring the mirror in there by hand, or take that table out`,
  otherFile: ({ config, other }: { config: string; other: string }) =>
    `${config} has ${other} read instead; bring the mirror in there by hand`,
  olderStore: 'the image store that daemon.json names reads no hosts.toml',
  hostsWin: ({ path }: { path: string }) =>
    `in the containerd image store ${path}, which names a host of its own, takes the place of registry-mirrors; bring the mirror in there, or take that file away`,
  missing: 'it is not there',
  notWritten: 'nothing of ours is in it; bring it in with --write',
  different: 'ours in it is not as it would be written now; write it again with --write',
  // The mirror's answer.
  wantsLogin: ({ url }: { url: string }) => `${url} answers, and asks for a login`,
  asksWho: ({ url }: { url: string }) =>
    `${url} answers, and asks for a login; to keep clients from the upstream, write the files with --no-fallback`,
  answers: ({ url }: { url: string }) => `${url} answers`,
  noAnswer: ({ url, reason }: { url: string; reason: string }) =>
    `${url} does not answer: ${reason}`,
  noRegistry: ({ url, status }: { url: string; status: number }) =>
    `what listens at ${url} is no registry: it answered ${status}`,
  tooLate: ({ seconds }: { seconds: number }) => `nothing within ${seconds} s`,
} as const;
