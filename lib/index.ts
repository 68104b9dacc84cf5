/** Public API of `token-cleanup`: constructs for your own CDK app. */

export type { CleanupScheduleProps } from './cleanup-schedule';
export type { FleetFunctionProps, SecretTag } from './fleet/fleet-function';
export type { CleanupFunctionProps } from './function/cleanup-function';
export type { FunctionSettings } from './function/database-function';
export type { CleanupJobProps, CleanupSettings, DatabasePattern } from './function/function-environment';
export type { CleanupNetworkProps, CleanupPlace } from './function/function-network';
export { type IamUser, SslMode } from './login';
export { FleetMonitoring, type FleetMonitoringProps } from './monitoring/fleet-monitoring';
export { Monitoring, type MonitoringProps } from './monitoring/monitoring';
export type { CleanupTarget } from './target';
export { type TableMetricOptions, TokenCleanup, type TokenCleanupProps } from './token-cleanup';
export { TokenCleanupFleet, type TokenCleanupFleetProps } from './token-cleanup-fleet';
export type { CleanupStateMachineProps } from './workflow/cleanup-state-machine';
export { OffSwitch, type OffSwitchProps } from './workflow/off-switch';
