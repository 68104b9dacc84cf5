/** What `token-cleanup/service` is: the job for processes of one's own. */
export { type ConnectionOptions, type CredentialSource, type Credentials, fixedCredentials } from './database';
export type { RunLogger, RunReport, RunStatus, TargetReport } from './report';
export type { Blockage, StopReason } from './sweep';
export { DEFAULT_TARGETS, parseTargets, type Target, type TargetsInput } from './targets';
export { type RunRequest, type TokenCleanupOptions, TokenCleanupService } from './token-cleanup-service';
export { InvalidInputError } from './validation';
