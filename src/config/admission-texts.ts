/** What people read of `admission` in the configuration. */
export const ADMISSION_TEXTS = {
  admissionMap:
    'write { rules: [{ images: ["ghcr.io/org/**"], mode: audit, signedBy: [{ key: NAME }] }] }',
  admissionMode: 'write off, audit or enforce',
  admissionListAround: 'it is a list; write [{ … }], with brackets around what stands there',
  admissionSignerMap: ({ value }: { value: string }) =>
    `who may have signed is a map; write { key: ${value} } where that is a name among admission.trust.keys`,
  admissionSignerList: ({ value }: { value: string }) =>
    `who may have signed is a list of maps; write [{ key: ${value} }] where that is a name among admission.trust.keys`,
  admissionKeyText: 'write a name among admission.trust.keys, under which the file stands',
  admissionNotationSigner:
    'write { identities: ["x509.subject: C=US, ST=WA, O=Example"] }; the stores stand in admission.trust.notation',
  admissionTrust:
    'it is a map; write { keys: { NAME: { file: FILE } } }, { sigstore: { trustedRoot: FILE } } or { notation: { stores: FOLDER } }',
  admissionKeys: ({ file }: { file: string }) =>
    `each key has a name of your own; write { NAME: { file: ${file} } }`,
  admissionKeyItself:
    'it is the key itself, and is to be read from a file; write the path of one, such as cosign.pub',
  admissionKeyElsewhere:
    'a key that lies elsewhere is not asked for; write the path of the file that "cosign public-key --key KEY" prints',
  admissionSigner:
    'write { key: NAME }, { identity: WHO, issuer: https://PROVIDER } or { notation: { identities: ["x509.subject: C=US, ST=WA, O=Example"] } }',
  admissionNoIssuer:
    'anybody may have an identity; write issuer: https://PROVIDER beside it, by whose word it counts',
  admissionNoIdentity:
    'by the word of an issuer everybody counts whom it knows; write identity: WHO beside it',
  admissionSeveral:
    'it is a key, an identity with its issuer, or notation; write an entry of the list for each',
  admissionMinAge: 'write a duration from 1m to 365d, such as 48h',
  admissionAsksNothing:
    'a rule asks something of its images; write signedBy, minAge or vulnerabilities',
  admissionChoice: 'write deny or allow',
  admissionSeverity: ({ words }: { words: string }) => `write one of ${words}`,
  admissionExceptionOf: ({ cve }: { cve: string }) =>
    `write { cve: ${cve}, reason: WHY, owner: WHO, until: 2027-01-01 }`,
  admissionException:
    'write { cve: CVE-2024-1234, reason: WHY, owner: WHO, until: 2027-01-01 }, or digest: in place of cve:',
  admissionExceptions: 'exceptions are of vulnerabilities; write vulnerabilities: { atMost: … }',
  admissionNoFindings:
    'nobody would say what is vulnerable; write admission.scanner: { adapter: URL, registry: URL }, or attestedBy',
  scannerUrl: 'write the address of the scanner, such as http://scanner:8080',
  scannerApiPath: 'leave out /api/v1: it is added to the address of the scanner',
  scannerRegistryPath:
    'adapters take scheme, host and port from it alone; write it without a path, such as http://entrepot:5000',
  scannerMaxAge: 'write at least 1m',
  moment: 'write a day such as 2027-01-01, or a moment such as 2027-01-01T12:00:00Z',
  admissionIdle: 'it is about no image that can be pulled here, and keeps nothing back',
  admissionCovered: ({ other }: { other: number }) =>
    `it refuses nothing that admission.rules[${other}] does not refuse; take it out, or have it ask more`,
  trustRootOld: ({ days }: { days: number }) =>
    `it was written ${days} days ago, and what newer authorities have signed is refused; write it anew: entrepot trust refresh --out FILE`,
  admissionKeyName: 'write a name of letters, digits, ".", "_" and "-"',
  admissionNoRoot:
    'who signs without a key is traced back to a root; write admission.trust.sigstore: { trustedRoot: FILE }',
  admissionSubjectName: ({ value }: { value: string }) =>
    `"${value}" names nobody; write "x509.subject: C=US, ST=WA, O=Example", with CN, OU and L as well if they have to be the same; C, ST and O are needed`,
  admissionNotAttesting:
    'Notation signs images, and no attestations that are read here; write { key: NAME } or { identity: WHO, issuer: https://PROVIDER }',
  admissionLevel: 'write strict or audit',
  admissionAnybody:
    'at the level audit the signature of anybody counts; write strict to enforce it',
  admissionOverlap: ({ value }: { value: string }) =>
    `"${value}" names some whom another identity of the list names as well; leave out one of them`,
  admissionNoStores:
    'who signs with Notation is traced back to trust stores; write admission.trust.notation: { stores: FOLDER }',
  noStores: ({ path }: { path: string }) =>
    `${path} cannot be read; write the folder that Notation calls trust-store, with x509/ca, x509/signingAuthority and x509/tsa`,
  storesEmpty: ({ path }: { path: string }) =>
    `${path} has no certificate; put one into x509/ca/NAME, with a name that ends in .pem, .crt or .cer`,
  storesTooMany: ({ path, most }: { path: string; most: number }) =>
    `${path} has more than ${most} certificates; leave those that are needed`,
  notStoreCertificate: ({ path }: { path: string }) =>
    `${path} is no certificate in PEM or DER, or longer than 1 MiB`,
  unfitCertificate: ({ path, type }: { path: string; type: string }) =>
    type === 'tsa'
      ? `${path} has a certificate that is no root; write those that clocks lead to, each signed by itself`
      : `${path} has a certificate that is of no authority and not signed by itself; write those that signers lead to`,
  admissionNoKey: ({ name, known }: { name: string; known: string }) =>
    `"${name}" is no name of a key; ${known === '' ? 'write it' : `write ${known}, or put it`} under admission.trust.keys`,
  notSignerKey: ({ path }: { path: string }) =>
    `${path} is no public key in PEM; write the file that cosign calls cosign.pub`,
  notTrustedRoot: ({ path }: { path: string }) =>
    `${path} is no trusted root of a Sigstore; write its trusted_root.json`,
} as const;
