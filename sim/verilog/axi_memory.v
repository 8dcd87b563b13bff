// A behavioural AXI4 memory that checks its master.
//
// Plain Verilog-2005 for Icarus and Verilator. Everything but its size is set at run time through
// the cfg_* inputs, so that one compiled model serves every latency and stall pattern.
//
// Timing: the first beat of a read can be transferred 1 + cfg_read_latency edges after its address,
// a write response 1 + cfg_write_latency edges after the last data beat. Up to cfg_outstanding
// reads (and as many writes) are accepted ahead; their latencies overlap. With cfg_shared, reads
// and writes share one data beat a cycle and alternate when both want it.

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

module tilewright_axi_memory #(
    parameter BUS_BYTES = 8,
    parameter BEATS = 8388608,
    parameter LANES = 8 * BUS_BYTES
) (
    input clk,
    input rst,

    input [31:0] cfg_base,              // bus address of the first byte
    input [31:0] cfg_bytes,             // bytes that may be accessed from there
    input [31:0] cfg_read_latency,
    input [31:0] cfg_write_latency,
    input [4:0] cfg_outstanding,        // 1..16
    input cfg_shared,
    input cfg_data_first,               // an address of a write is taken only once its data waits
    input cfg_refuse_unwritten,         // reading what nobody wrote is a failure
    input [47:0] cfg_stalls,            // of 256 cycles: {b, w, aw, r, ar}, a byte each, from bit 0
    input [31:0] cfg_read_error_first,  // bus addresses answered with an error: first <= a < last
    input [31:0] cfg_read_error_last,
    input [31:0] cfg_write_error_first,
    input [31:0] cfg_write_error_last,
    input [1:0] cfg_error_response,     // 2: SLVERR, 3: DECERR
    input [31:0] cfg_error_burst,       // which of the bursts that touch them, from 1; 0: every one
    input cfg_decode_errors,            // bursts outside get DECERR instead of being a failure
    input [63:0] random,                // new in every cycle

    input [31:0] awaddr,
    input [7:0] awlen,
    input [2:0] awsize,
    input [1:0] awburst,
    input awvalid,
    output reg awready,
    input [LANES-1:0] wdata,
    input [BUS_BYTES-1:0] wstrb,
    input wlast,
    input wvalid,
    output reg wready,
    output reg [1:0] bresp,
    output reg bvalid,
    input bready,
    input [31:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arvalid,
    output reg arready,
    output reg [LANES-1:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input rready,

    output reg failed,
    output reg [8*96-1:0] failure,      // what the master did wrong first, as text
    output reg [31:0] failure_address,
    output reg [31:0] read_beats,
    output reg [31:0] write_beats
);
    localparam SHIFT = $clog2(BUS_BYTES);

    reg [LANES-1:0] mem [0:BEATS-1];
    reg written [0:BEATS-1];

    reg [31:0] now;

    // Accepted reads, writes and responses: rings of 16.
    reg [31:0] ar_address [0:15];
    reg [7:0] ar_length [0:15];
    reg [31:0] ar_due [0:15];
    reg ar_bad [0:15];
    reg [3:0] ar_head, ar_tail;
    reg [4:0] ar_count;
    reg [31:0] aw_address [0:15];
    reg [7:0] aw_length [0:15];
    reg aw_bad [0:15];
    reg [3:0] aw_head, aw_tail;
    reg [4:0] aw_count;
    reg [31:0] b_due [0:15];
    reg [1:0] b_response [0:15];
    reg [3:0] b_head, b_tail;
    reg [4:0] b_count;

    reg [8:0] r_beat, w_beat;
    reg r_busy, b_busy, write_turn, want_read, want_write;
    reg [1:0] w_response;
    reg [31:0] address, index;
    reg [31:0] read_touches, write_touches;  // bursts that touched the addresses of errors
    reg touches;
    reg [LANES-1:0] mask;
    integer lane;

    // The cycle before, for the rule that a valid waits with its payload.
    reg ar_waiting, aw_waiting, w_waiting;
    reg [44:0] ar_payload, aw_payload;
    reg [LANES+BUS_BYTES:0] w_payload;

    task check_burst(
        input [31:0] first, input [7:0] length, input [2:0] size, input [1:0] burst, input write
    );
        reg [32:0] last;
        begin
            last = {1'b0, first} + ({25'b0, length} << SHIFT) + BUS_BYTES - 1;
            if ((^{first, length, size, burst}) === 1'bx)
                `FAIL(write ? "AW has an unknown (X) payload" : "AR has an unknown (X) payload", 0)
            else if (burst != 2'b01)
                `FAIL(write ? "AW burst is not INCR" : "AR burst is not INCR", first)
            else if (size != SHIFT)
                `FAIL(write ? "AWSIZE is not the bus width" : "ARSIZE is not the bus width", first)
            else if ((first & (BUS_BYTES - 1)) != 0)
                `FAIL(write ? "AW address is not aligned to the bus"
                           : "AR address is not aligned to the bus", first)
            else if (first[31:12] != last[31:12] || last[32])
                `FAIL(write ? "AW burst crosses a 4 KiB boundary"
                           : "AR burst crosses a 4 KiB boundary", first)
            else if (!cfg_decode_errors
                    && (first < cfg_base || last >= {1'b0, cfg_base} + {1'b0, cfg_bytes}))
                `FAIL(write ? "AW burst is outside the program's memory"
                           : "AR burst is outside the program's memory", first)
        end
    endtask

    // Whether a burst touches the addresses of errors.
    function touching(
        input [31:0] first, input [7:0] length, input [31:0] range_first, input [31:0] range_last
    );
        touching = first < range_last
            && first + ({24'b0, length} << SHIFT) + BUS_BYTES > range_first;
    endfunction

    // The response to a beat at `at`, of a burst marked `bad` or not.
    function [1:0] response(
        input [31:0] at, input bad, input [31:0] range_first, input [31:0] range_last
    );
        if (cfg_decode_errors && at - cfg_base >= cfg_bytes) response = 3;
        else if (bad && at >= range_first && at < range_last) response = cfg_error_response;
        else response = 0;
    endfunction

    task check_waiting;
        begin
            if (ar_waiting && !arvalid)
                `FAIL("ARVALID was dropped before ARREADY", araddr)
            else if (ar_waiting && ar_payload !== {araddr, arlen, arsize, arburst})
                `FAIL("AR changed while it waited for ARREADY", araddr)
            if (aw_waiting && !awvalid)
                `FAIL("AWVALID was dropped before AWREADY", awaddr)
            else if (aw_waiting && aw_payload !== {awaddr, awlen, awsize, awburst})
                `FAIL("AW changed while it waited for AWREADY", awaddr)
            if (w_waiting && !wvalid)
                `FAIL("WVALID was dropped before WREADY", 0)
            else if (w_waiting && w_payload !== {wdata, wstrb, wlast})
                `FAIL("W changed while it waited for WREADY", 0)
            if ((^{arvalid, awvalid, wvalid, rready, bready}) === 1'bx)
                `FAIL("a valid or ready of the master is unknown (X)", 0)
            ar_waiting = arvalid && !arready;
            aw_waiting = awvalid && !awready;
            w_waiting = wvalid && !wready;
            if (arvalid) ar_payload = {araddr, arlen, arsize, arburst};
            if (awvalid) aw_payload = {awaddr, awlen, awsize, awburst};
            if (wvalid) w_payload = {wdata, wstrb, wlast};
        end
    endtask

    task take_write_beat;
        begin
            address = aw_address[aw_head] + (w_beat << SHIFT);
            index = (address - cfg_base) >> SHIFT;
            for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
                mask[8*lane +: 8] = {8{wstrb[lane]}};
            if ((^{wstrb, wlast}) === 1'bx || (^(wdata & mask)) === 1'bx)
                `FAIL("W has an unknown (X) byte, strobe or last", address)
            if (index < BEATS && address - cfg_base < cfg_bytes) begin
                mem[index] = (mem[index] & ~mask) | (wdata & mask);
                written[index] = 1;
            end
            write_beats <= write_beats + 1;
            w_response = w_response | response(
                address, aw_bad[aw_head], cfg_write_error_first, cfg_write_error_last);
            if (wlast != (w_beat == {1'b0, aw_length[aw_head]}))
                `FAIL(wlast ? "WLAST came before the burst's last beat"
                           : "WLAST is missing at the burst's last beat", address)
            w_beat = w_beat + 1;
            if (wlast) begin
                b_due[b_tail] = now + cfg_write_latency;
                b_response[b_tail] = w_response;
                b_tail = b_tail + 1;
                b_count = b_count + 1;
                aw_head = aw_head + 1;
                aw_count = aw_count - 1;
                w_beat = 0;
                w_response = 0;
            end
        end
    endtask

    task give_read_beat;
        begin
            address = ar_address[ar_head] + (r_beat << SHIFT);
            index = (address - cfg_base) >> SHIFT;
            if (index < BEATS) begin
                rdata <= mem[index];
                if (cfg_refuse_unwritten && !written[index])
                    `FAIL("memory is read that nobody wrote", address)
            end
            rresp <= response(
                address, ar_bad[ar_head], cfg_read_error_first, cfg_read_error_last);
            rlast <= r_beat == {1'b0, ar_length[ar_head]};
            read_beats <= read_beats + 1;
            r_busy = 1;
            if (r_beat == {1'b0, ar_length[ar_head]}) begin
                ar_head = ar_head + 1;
                ar_count = ar_count - 1;
                r_beat = 0;
            end else
                r_beat = r_beat + 1;
        end
    endtask

    always @(posedge clk) begin
        if (rst) begin
            now = 0;
            failed = 0;
            failure_address = 0;
            ar_head = 0; ar_tail = 0; ar_count = 0; r_beat = 0; r_busy = 0;
            aw_head = 0; aw_tail = 0; aw_count = 0; w_beat = 0; w_response = 0;
            b_head = 0; b_tail = 0; b_count = 0; b_busy = 0;
            ar_waiting = 0; aw_waiting = 0; w_waiting = 0; write_turn = 0;
            arready <= 0; awready <= 0; wready <= 0; rvalid <= 0; bvalid <= 0;
            read_beats <= 0; write_beats <= 0; read_touches = 0; write_touches = 0;
        end else begin
            now = now + 1;
            check_waiting;

            if (arvalid && arready) begin
                check_burst(araddr, arlen, arsize, arburst, 0);
                ar_address[ar_tail] = araddr;
                ar_length[ar_tail] = arlen;
                ar_due[ar_tail] = now + cfg_read_latency;
                touches = touching(araddr, arlen, cfg_read_error_first, cfg_read_error_last);
                if (touches) read_touches = read_touches + 1;
                ar_bad[ar_tail] = touches
                    && (cfg_error_burst == 0 || cfg_error_burst == read_touches);
                ar_tail = ar_tail + 1;
                ar_count = ar_count + 1;
            end
            if (wvalid && wready) take_write_beat;
            if (awvalid && awready) begin
                check_burst(awaddr, awlen, awsize, awburst, 1);
                aw_address[aw_tail] = awaddr;
                aw_length[aw_tail] = awlen;
                touches = touching(awaddr, awlen, cfg_write_error_first, cfg_write_error_last);
                if (touches) write_touches = write_touches + 1;
                aw_bad[aw_tail] = touches
                    && (cfg_error_burst == 0 || cfg_error_burst == write_touches);
                aw_tail = aw_tail + 1;
                aw_count = aw_count + 1;
            end
            if (rready) r_busy = r_busy && !rvalid;
            if (bready) b_busy = b_busy && !bvalid;

            want_read = !r_busy && ar_count != 0 && $signed(now - ar_due[ar_head]) >= 0
                && random[7:0] >= cfg_stalls[15:8];
            want_write = aw_count != 0 && random[15:8] >= cfg_stalls[31:24];
            if (cfg_shared) begin
                want_write = want_write && wvalid;
                if (want_read && want_write) begin
                    want_read = !write_turn;
                    want_write = write_turn;
                    write_turn = !write_turn;
                end
            end
            if (want_read) give_read_beat;
            if (!b_busy && b_count != 0 && $signed(now - b_due[b_head]) >= 0
                    && random[23:16] >= cfg_stalls[39:32]) begin
                b_busy = 1;
                bresp <= b_response[b_head];
                b_head = b_head + 1;
                b_count = b_count - 1;
            end
            rvalid <= r_busy;
            bvalid <= b_busy;
            wready <= want_write;
            arready <= ar_count < cfg_outstanding && random[31:24] >= cfg_stalls[7:0];
            awready <= aw_count + b_count < cfg_outstanding && random[39:32] >= cfg_stalls[23:16]
                && (!cfg_data_first || wvalid);
        end
    end

    // Files are numbered, in the directory in which the simulator runs. A word's first byte in a
    // file is its most significant one, as $fread defines.
    task fill(input [31:0] first, input [31:0] count, input [7:0] value);
        integer at;
        for (at = first; at < first + count; at = at + 1) begin
            mem[at] = {BUS_BYTES{value}};
            written[at] = 0;
        end
    endtask

    task load(input [31:0] number, input [31:0] first, input [31:0] count, output good);
        reg [8*24-1:0] name;
        integer file, got, at;
        begin
            $sformat(name, "load%0d.bin", number);
            file = $fopen(name, "rb");
            got = 0;
            if (file != 0) begin
                got = $fread(mem, file, first, count);
                $fclose(file);
            end
            for (at = first; at < first + count; at = at + 1)
                written[at] = 1;
            good = got == count * BUS_BYTES;
        end
    endtask

    task dump(input [31:0] number, input [31:0] first, input [31:0] count);
        reg [8*24-1:0] name;
        begin
            $sformat(name, "dump%0d.hex", number);
            $writememh(name, mem, first, first + count - 1);
        end
    endtask
endmodule

`undef FAIL
