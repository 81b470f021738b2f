/** Amazon's public clouds, and those of governments. */
const ECR_HOST =
  /^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$/;

/**
 * The region that the address of a private ECR registry names; none for other addresses.
 * @see https://github.com/awslabs/amazon-ecr-credential-helper/blob/main/ecr-login/api/client.go
 */
export function findEcrRegion(url: string): string | undefined {
  return ECR_HOST.exec(new URL(url).hostname)?.[1];
}
