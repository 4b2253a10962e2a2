"""Node-RED as a program: installed, started, given a flow, and watched."""
