/** What `token-cleanup` is: the constructs for CDK apps of one's own. */
export type { TargetsInput } from '../lambda/configuration/targets';
export { Monitoring, type MonitoringProps } from './monitoring';
export { type IamUser, type TableMetricOptions, TokenCleanup, type TokenCleanupProps } from './token-cleanup';
