// The bench of whole-network runs: accelerator, memory, host and watchdog.
//
// The host is a machine that runs one command at a time: cocotb writes the arguments, then a new
// number to command_number, and waits until done_number shows it. Between two commands no Python
// runs. TILEWRIGHT_TOP is the accelerator's module name.

`timescale 1ns / 1ns

// A macro, not a task: Verilator would clear a task's text, 96 bytes a call, in every cycle.
`define FAIL(TEXT, WHERE) \
    begin \
        if (!failed) begin \
            failed = 1; \
            failure = TEXT; \
            failure_address = WHERE; \
        end \
    end

module tilewright_testbench #(
    parameter BUS_BYTES = 8,
    parameter BEATS = 8388608
);
    localparam COMMAND_RESET = 1;   // argument0 cycles of reset
    localparam COMMAND_WRITE = 2;   // register argument0 = argument1
    localparam COMMAND_READ = 3;    // result = register argument0
    localparam COMMAND_WAIT = 4;    // until irq
    localparam COMMAND_FILL = 5;    // argument1 beats from argument0 with the byte argument2
    localparam COMMAND_LOAD = 6;    // argument1 beats from argument0 from file argument2
    localparam COMMAND_DUMP = 7;    // argument1 beats from argument0 to file argument2
    localparam COMMAND_IDLE = 8;    // argument0 cycles

    reg [31:0] command_number /*verilator public_flat_rw*/ = 0;
    reg [31:0] done_number /*verilator public_flat_rw*/ = 0;
    reg [3:0] command /*verilator public_flat_rw*/ = 0;
    reg [31:0] argument0 /*verilator public_flat_rw*/ = 0;
    reg [31:0] argument1 /*verilator public_flat_rw*/ = 0;
    reg [31:0] argument2 /*verilator public_flat_rw*/ = 0;
    reg [31:0] result /*verilator public_flat_rw*/ = 0;
    reg [31:0] limit /*verilator public_flat_rw*/ = 1000;    // cycles a command may take
    reg failed /*verilator public_flat_rw*/ = 0;
    reg timed_out /*verilator public_flat_rw*/ = 0;  // the failure is the watchdog's
    reg [8*96-1:0] failure /*verilator public_flat_rw*/ = 0;
    reg [31:0] failure_address /*verilator public_flat_rw*/ = 0;
    reg [31:0] elapsed /*verilator public_flat_rw*/ = 0;     // cycles of the last command
    wire [31:0] read_beats /*verilator public_flat_rd*/;
    wire [31:0] write_beats /*verilator public_flat_rd*/;

    reg [31:0] cfg_base /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_bytes /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_read_latency /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_write_latency /*verilator public_flat_rw*/ = 0;
    reg [4:0] cfg_outstanding /*verilator public_flat_rw*/ = 8;
    reg cfg_shared /*verilator public_flat_rw*/ = 0;
    reg cfg_data_first /*verilator public_flat_rw*/ = 0;
    reg cfg_refuse_unwritten /*verilator public_flat_rw*/ = 0;
    reg [47:0] cfg_stalls /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_read_error_first /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_read_error_last /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_write_error_first /*verilator public_flat_rw*/ = 0;
    reg [31:0] cfg_write_error_last /*verilator public_flat_rw*/ = 0;
    reg [1:0] cfg_error_response /*verilator public_flat_rw*/ = 2;
    reg [31:0] cfg_error_burst /*verilator public_flat_rw*/ = 0;
    reg cfg_decode_errors /*verilator public_flat_rw*/ = 0;
    reg [63:0] seed /*verilator public_flat_rw*/ = 64'h9E3779B97F4A7C15;  // taken by reset

    reg clk = 0;
    always #5 clk = !clk;

    reg rst = 1;
    wire irq /*verilator public_flat_rd*/;
    reg [63:0] random = 64'h9E3779B97F4A7C15, shuffled = 0;

    wire [31:0] awaddr, araddr;
    wire [7:0] awlen, arlen;
    wire [2:0] awsize, arsize;
    wire [1:0] awburst, arburst, bresp, rresp;
    wire awvalid, awready, wvalid, wready, wlast, bvalid, bready;
    wire arvalid, arready, rvalid, rready, rlast;
    wire [8*BUS_BYTES-1:0] wdata, rdata;
    wire [BUS_BYTES-1:0] wstrb;

    reg [11:0] s_awaddr = 0, s_araddr = 0;
    reg [31:0] s_wdata = 0;
    reg s_awvalid = 0, s_wvalid = 0, s_bready = 0, s_arvalid = 0, s_rready = 0;
    wire s_awready, s_wready, s_bvalid, s_arready, s_rvalid;
    wire [1:0] s_bresp, s_rresp;
    wire [31:0] s_rdata;

    `TILEWRIGHT_TOP dut (
        .clk(clk), .rst(rst), .irq(irq),
        .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize),
        .m_axi_awburst(awburst), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
        .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast),
        .m_axi_wvalid(wvalid), .m_axi_wready(wready),
        .m_axi_bresp(bresp), .m_axi_bvalid(bvalid), .m_axi_bready(bready),
        .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize),
        .m_axi_arburst(arburst), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
        .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast),
        .m_axi_rvalid(rvalid), .m_axi_rready(rready),
        .s_axi_awaddr(s_awaddr), .s_axi_awvalid(s_awvalid), .s_axi_awready(s_awready),
        .s_axi_wdata(s_wdata), .s_axi_wstrb(4'hF), .s_axi_wvalid(s_wvalid),
        .s_axi_wready(s_wready), .s_axi_bresp(s_bresp), .s_axi_bvalid(s_bvalid),
        .s_axi_bready(s_bready), .s_axi_araddr(s_araddr), .s_axi_arvalid(s_arvalid),
        .s_axi_arready(s_arready), .s_axi_rdata(s_rdata), .s_axi_rresp(s_rresp),
        .s_axi_rvalid(s_rvalid), .s_axi_rready(s_rready)
    );

    wire memory_failed;
    wire [8*96-1:0] memory_failure;
    wire [31:0] memory_failure_address;

    tilewright_axi_memory #(.BUS_BYTES(BUS_BYTES), .BEATS(BEATS)) memory (
        .clk(clk), .rst(rst),
        .cfg_base(cfg_base), .cfg_bytes(cfg_bytes),
        .cfg_read_latency(cfg_read_latency), .cfg_write_latency(cfg_write_latency),
        .cfg_outstanding(cfg_outstanding), .cfg_shared(cfg_shared),
        .cfg_data_first(cfg_data_first), .cfg_refuse_unwritten(cfg_refuse_unwritten),
        .cfg_stalls(cfg_stalls),
        .cfg_read_error_first(cfg_read_error_first), .cfg_read_error_last(cfg_read_error_last),
        .cfg_write_error_first(cfg_write_error_first),
        .cfg_write_error_last(cfg_write_error_last),
        .cfg_error_response(cfg_error_response), .cfg_error_burst(cfg_error_burst),
        .cfg_decode_errors(cfg_decode_errors), .random(random),
        .awaddr(awaddr), .awlen(awlen), .awsize(awsize), .awburst(awburst),
        .awvalid(awvalid), .awready(awready),
        .wdata(wdata), .wstrb(wstrb), .wlast(wlast), .wvalid(wvalid), .wready(wready),
        .bresp(bresp), .bvalid(bvalid), .bready(bready),
        .araddr(araddr), .arlen(arlen), .arsize(arsize), .arburst(arburst),
        .arvalid(arvalid), .arready(arready),
        .rdata(rdata), .rresp(rresp), .rlast(rlast), .rvalid(rvalid), .rready(rready),
        .failed(memory_failed), .failure(memory_failure),
        .failure_address(memory_failure_address),
        .read_beats(read_beats), .write_beats(write_beats)
    );

    // Slave of the register bus: what it must hold while it waits.
    reg b_waiting = 0, r_waiting = 0;
    reg [33:0] r_payload = 0;

    task check_registers;
        begin
            if (b_waiting && !s_bvalid) `FAIL("AXI-Lite BVALID was dropped before BREADY", 0)
            if (r_waiting && !s_rvalid) `FAIL("AXI-Lite RVALID was dropped before RREADY", 0)
            else if (r_waiting && r_payload !== {s_rdata, s_rresp})
                `FAIL("AXI-Lite R changed while it waited for RREADY", 0)
            if ((^{s_awready, s_wready, s_bvalid, s_arready, s_rvalid, irq}) === 1'bx)
                `FAIL("an AXI-Lite valid or ready, or irq, is unknown (X)", 0)
            b_waiting = s_bvalid && !s_bready;
            r_waiting = s_rvalid && !s_rready;
            r_payload = {s_rdata, s_rresp};
        end
    endtask

    reg busy = 0, started = 0, good = 0, aw_left = 0, w_left = 0;
    wire stall = random[47:40] < cfg_stalls[47:40];

    // One step of a register write: address and data go in any order when the host stalls.
    task step_write;
        begin
            if (!started) begin
                started = 1;
                aw_left = 1;
                w_left = 1;
            end
            if (s_awvalid && s_awready) s_awvalid <= 0;
            else if (aw_left && !stall) begin
                s_awvalid <= 1;
                s_awaddr <= argument0[11:0];
                aw_left = 0;
            end
            if (s_wvalid && s_wready) s_wvalid <= 0;
            else if (w_left && !(random[55:48] < cfg_stalls[47:40])) begin
                s_wvalid <= 1;
                s_wdata <= argument1;
                w_left = 0;
            end
            s_bready <= !stall;
            if (s_bvalid && s_bready) begin
                s_bready <= 0;
                busy = 0;
                if (s_bresp != 0) `FAIL("AXI-Lite write was answered with an error", argument0)
            end
        end
    endtask

    task step_read;
        begin
            if (!started) begin
                started = 1;
                s_arvalid <= 1;
                s_araddr <= argument0[11:0];
            end else if (s_arready) s_arvalid <= 0;
            s_rready <= !stall;
            if (s_rvalid && s_rready) begin
                s_rready <= 0;
                busy = 0;
                result = s_rdata;
                if (s_rresp != 0) `FAIL("AXI-Lite read was answered with an error", argument0)
                if ((^s_rdata) === 1'bx) `FAIL("AXI-Lite read data is unknown (X)", argument0)
            end
        end
    endtask

    always @(posedge clk) begin
        shuffled = random ^ (random << 13);  // xorshift64
        shuffled = shuffled ^ (shuffled >> 7);
        random <= shuffled ^ (shuffled << 17);
        if (!rst) check_registers;
        if (memory_failed) `FAIL(memory_failure, memory_failure_address)
        if (!busy && command_number != done_number) begin
            busy = 1;
            started = 0;
            elapsed = 0;
            if (timed_out) failed = 0;  // the host may still ask why
            timed_out = 0;
        end
        if (busy) begin
            elapsed = elapsed + 1;
            case (command)
                COMMAND_RESET: begin
                    rst <= (elapsed <= argument0);
                    random <= seed;
                    failed = 0;
                    b_waiting = 0;
                    r_waiting = 0;
                    s_awvalid <= 0; s_wvalid <= 0; s_bready <= 0; s_arvalid <= 0; s_rready <= 0;
                    busy = (elapsed <= argument0 + 1);
                end
                COMMAND_WRITE: step_write;
                COMMAND_READ: step_read;
                COMMAND_WAIT: busy = !irq;
                COMMAND_FILL: begin
                    memory.fill(argument0, argument1, argument2[7:0]);
                    busy = 0;
                end
                COMMAND_LOAD: begin
                    memory.load(argument2, argument0, argument1, good);
                    if (!good) `FAIL("the file to load is missing or too short", argument2)
                    busy = 0;
                end
                COMMAND_DUMP: begin
                    memory.dump(argument2, argument0, argument1);
                    busy = 0;
                end
                COMMAND_IDLE: busy = elapsed < argument0;
                default: `FAIL("the host was given an unknown command", {28'b0, command})
            endcase
            if (busy && elapsed >= limit && !failed) begin
                `FAIL("the watchdog: too many cycles went by", elapsed)
                timed_out = 1;
            end
            if (failed) busy = 0;
            if (!busy) done_number <= command_number;
        end
    end
endmodule

`undef FAIL
