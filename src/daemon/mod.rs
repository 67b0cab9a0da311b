//! Starts and wires everything; owns every task and channel.
