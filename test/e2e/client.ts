/** An image as its upstream names it; `reference` is a tag or a digest. */
export interface ImageName {
  readonly registry: string;
  readonly repository: string;
  readonly reference: string;
}

/** A container engine or tool that knows the mirror as its own configuration says it. */
export interface Client {
  /** Pulls for this machine's platform and unpacks; where the files are. Rejects when it cannot. */
  pull(image: ImageName): Promise<string>;
  /** Removes the image and all that came with it, so that the next pull asks for everything. */
  remove(image: ImageName): Promise<void>;
}

/** `docker.io/library/app:1` or `docker.io/library/app@sha256:…`. */
export function formatImage({ registry, repository, reference }: ImageName): string {
  return `${registry}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
}
