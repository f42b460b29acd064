// What the module exports; what it does is in transform.ts.
export { bridge_abi, bridge_alloc, bridge_batch, bridge_init } from "./bridge";
