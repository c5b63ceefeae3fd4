/** Whether a bearer token proves the key that is registered for a vehicle now; the same answer for HTTP and MQTT. */
export interface VehicleAuth {
  authenticate(token: string): Promise<VehicleAuthentication>;
}

export type VehicleAuthentication =
  | { readonly ok: true; readonly vehicleId: string; readonly keyid: string; readonly publicKey: string }
  /** `revoked` is said only to somebody who proved a key that was registered once. */
  | { readonly ok: false; readonly problem: "unknown" | "revoked" };
