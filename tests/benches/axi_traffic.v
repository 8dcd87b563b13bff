// An AXI4 master that checks a memory: bursts at random or in streams, against what it wrote.
//
// Plain Verilog-2005 for Icarus and Verilator. A run makes cfg_reads and cfg_writes bursts within
// the cfg_span bytes that it knows, whose pages of 4 KiB lie scattered in the memory: page p at page
// (p * cfg_spread) & cfg_page_mask, plus cfg_base. Bytes that nobody wrote are not compared. A burst
// waits while its bytes are touched by one under way in the other direction.

`timescale 1ns / 1ps

module axi_traffic #(
    parameter BUS_BYTES = 8,
    parameter BYTES = 1 << 20,
    parameter SEED = 1
) (
    input clk,
    input rst,
    input [31:0] run,                // a new number starts a run ...
    output reg [31:0] finished,      // ... which is over when it shows here, or failed
    input [31:0] cfg_reads,
    input [31:0] cfg_writes,
    input [8:0] cfg_beats,           // of the longest burst
    input cfg_fixed,                 // all bursts are that long
    input cfg_sequential,            // addresses follow each other in each stream; with reads
                                     // too, those of writes begin in the middle of its part
    input [31:0] cfg_streams,        // streams that take turns; each has its part of the span
    input [31:0] cfg_span,
    input [31:0] cfg_base,
    input [31:0] cfg_spread,         // odd
    input [19:0] cfg_page_mask,
    input cfg_full,                  // all strobes are set
    input [7:0] cfg_outside,         // of 256 bursts, how many go to cfg_outside_address
    input [31:0] cfg_outside_address,
    input [39:0] cfg_stalls,         // of 256 cycles: {b, w, aw, r, ar}, a byte each, from bit 0

    output reg [31:0] awaddr,
    output reg [7:0] awlen,
    output [2:0] awsize,
    output [1:0] awburst,
    output reg awvalid,
    input awready,
    output reg [8*BUS_BYTES-1:0] wdata,
    output reg [BUS_BYTES-1:0] wstrb,
    output reg wlast,
    output reg wvalid,
    input wready,
    input [1:0] bresp,
    input bvalid,
    output reg bready,
    output reg [31:0] araddr,
    output reg [7:0] arlen,
    output [2:0] arsize,
    output [1:0] arburst,
    output reg arvalid,
    input arready,
    input [8*BUS_BYTES-1:0] rdata,
    input [1:0] rresp,
    input rlast,
    input rvalid,
    output reg rready,

    output reg failed,
    output reg [8*48-1:0] failure,   // what went wrong first, as text
    output reg [31:0] failure_address,
    output reg [31:0] cycles,        // of the run, from its first address to its last answer
    output reg [31:0] read_beats,
    output reg [31:0] write_beats,
    output reg [31:0] compared       // bytes
);
    localparam SHIFT = $clog2(BUS_BYTES);
    localparam DEEP = 8;             // bursts under way in each direction

    assign awsize = SHIFT;
    assign arsize = SHIFT;
    assign awburst = 1;
    assign arburst = 1;

    reg [7:0] expected [0:BYTES-1];
    reg known [0:BYTES-1];

    // Bursts under way, from their planning to their last answer: rings.
    reg [31:0] r_offset [0:DEEP-1], w_offset [0:DEEP-1];
    reg [8:0] r_beats [0:DEEP-1], w_beats [0:DEEP-1];
    reg r_outside [0:DEEP-1], w_outside [0:DEEP-1];
    reg [2:0] r_head, r_tail, b_head, w_head, w_tail;
    reg [3:0] r_count, b_count, w_count;
    reg [8:0] r_beat, w_beat;
    reg [31:0] reads_left, writes_left, read_stream, write_stream, part;
    reg [31:0] read_at [0:7], write_at [0:7];

    reg running, planned, clash, outside;
    reg [31:0] offset, random, other;
    reg [8:0] beats, room;
    integer state, at, lane;
    reg r_waiting, b_waiting;
    reg [8*BUS_BYTES+2:0] r_payload;
    reg [1:0] b_payload;

    task fail(input [8*48-1:0] text, input [31:0] where);
        if (!failed) begin
            failed = 1;
            failure = text;
            failure_address = where;
        end
    endtask

    function [31:0] address(input [31:0] at_offset);
        address = cfg_base + ((((at_offset >> 12) * cfg_spread) & cfg_page_mask) << 12)
            + (at_offset & 4095);
    endfunction

    // Choose the next burst of a direction: offset, beats, outside.
    task choose(input [31:0] next);
        begin
            random = $random(state);
            other = $random(state);
            beats = cfg_fixed ? cfg_beats : 1 + other[15:0] % cfg_beats;
            if (cfg_sequential) offset = next;
            else offset = (random % (cfg_span >> SHIFT)) << SHIFT;
            room = (4096 - (offset & 4095)) >> SHIFT;
            if (((4096 - (offset & 4095)) >> SHIFT) < beats) beats = room;
            outside = other[23:16] < cfg_outside;
        end
    endtask

    task plan_read;
        begin
            choose(read_at[read_stream]);
            clash = 0;
            for (at = 0; at < DEEP; at = at + 1)
                if (((at - b_head) & (DEEP - 1)) < b_count
                        && offset < w_offset[at] + (w_beats[at] << SHIFT)
                        && w_offset[at] < offset + (beats << SHIFT)) clash = 1;
            if (!clash) begin
                arvalid <= 1;
                araddr <= outside ? cfg_outside_address + (offset & 4095) : address(offset);
                arlen <= beats - 1;
                r_offset[r_tail] = offset;
                r_beats[r_tail] = beats;
                r_outside[r_tail] = outside;
                r_tail = r_tail + 1;
                r_count = r_count + 1;
                reads_left = reads_left - 1;
                read_at[read_stream] = offset + (beats << SHIFT);
                if (read_at[read_stream] == (read_stream + 1) * part)
                    read_at[read_stream] = read_stream * part;
                read_stream = read_stream + 1 == cfg_streams ? 0 : read_stream + 1;
            end
        end
    endtask

    task plan_write;
        begin
            choose(write_at[write_stream]);
            clash = 0;
            for (at = 0; at < DEEP; at = at + 1)
                if (((at - r_head) & (DEEP - 1)) < r_count
                        && offset < r_offset[at] + (r_beats[at] << SHIFT)
                        && r_offset[at] < offset + (beats << SHIFT)) clash = 1;
            if (!clash) begin
                awvalid <= 1;
                awaddr <= outside ? cfg_outside_address + (offset & 4095) : address(offset);
                awlen <= beats - 1;
                w_offset[w_tail] = offset;
                w_beats[w_tail] = beats;
                w_outside[w_tail] = outside;
                w_tail = w_tail + 1;
                w_count = w_count + 1;
                b_count = b_count + 1;
                writes_left = writes_left - 1;
                write_at[write_stream] = offset + (beats << SHIFT);
                if (write_at[write_stream] == (write_stream + 1) * part)
                    write_at[write_stream] = write_stream * part;
                write_stream = write_stream + 1 == cfg_streams ? 0 : write_stream + 1;
            end
        end
    endtask

    task send_write_beat;
        begin
            offset = w_offset[w_head] + (w_beat << SHIFT);
            for (lane = 0; lane < BUS_BYTES; lane = lane + 1) begin
                random = $random(state);
                wdata[8*lane +: 8] <= random[7:0];
                wstrb[lane] <= cfg_full || random[8];
                if ((cfg_full || random[8]) && !w_outside[w_head]) begin
                    expected[offset + lane] = random[7:0];
                    known[offset + lane] = 1;
                end
            end
            w_beat = w_beat + 1;
            wlast <= w_beat == w_beats[w_head];
            wvalid <= 1;
            if (w_beat == w_beats[w_head]) begin
                w_head = w_head + 1;
                w_count = w_count - 1;
                w_beat = 0;
            end
        end
    endtask

    task take_read_beat;
        begin
            offset = r_offset[r_head] + (r_beat << SHIFT);
            r_beat = r_beat + 1;
            if (r_count == 0) fail("a read beat that nobody asked for", 0);
            if (rlast !== (r_beat == r_beats[r_head])) fail("RLAST is wrong", offset);
            if (rresp !== (r_outside[r_head] ? 2'd3 : 2'd0)) fail("RRESP is wrong", offset);
            for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
                if (!r_outside[r_head] && known[offset + lane]) begin
                    compared <= compared + BUS_BYTES;
                    if (rdata[8*lane +: 8] !== expected[offset + lane])
                        fail("a byte read is not what was written", offset + lane);
                end
            if (r_beat == r_beats[r_head]) begin
                r_head = r_head + 1;
                r_count = r_count - 1;
                r_beat = 0;
            end
            read_beats <= read_beats + 1;
        end
    endtask

    task take_response;
        begin
            if (b_count == 0 || b_count <= w_count) fail("a response before its data", 0);
            if (bresp !== (w_outside[b_head] ? 2'd3 : 2'd0))
                fail("BRESP is wrong", w_offset[b_head]);
            b_head = b_head + 1;
            b_count = b_count - 1;
        end
    endtask

    task check_waiting;
        begin
            if (r_waiting && (!rvalid || r_payload !== {rdata, rresp, rlast}))
                fail("R was withdrawn or changed while it waited", 0);
            if (b_waiting && (!bvalid || b_payload !== bresp))
                fail("B was withdrawn or changed while it waited", 0);
            if ((^{awready, wready, arready, rvalid, bvalid}) === 1'bx)
                fail("a valid or ready of the memory is unknown", 0);
            r_waiting = rvalid && !rready;
            b_waiting = bvalid && !bready;
            r_payload = {rdata, rresp, rlast};
            b_payload = bresp;
        end
    endtask

    task begin_run;
        begin
            running = 1;
            reads_left = cfg_reads;
            writes_left = cfg_writes;
            part = cfg_span / cfg_streams;
            for (at = 0; at < cfg_streams; at = at + 1) begin
                read_at[at] = at * part;
                write_at[at] = at * part + (cfg_reads != 0 ? part / 2 : 0);
            end
            read_stream = 0;
            write_stream = 0;
            cycles <= 0;
            read_beats <= 0;
            write_beats <= 0;
            compared <= 0;
        end
    endtask

    initial begin
        state = SEED;
        for (at = 0; at < BYTES; at = at + 1) known[at] = 0;
    end

    always @(posedge clk) begin
        if (rst) begin
            awvalid <= 0; wvalid <= 0; arvalid <= 0; rready <= 0; bready <= 0;
            finished <= 0; running = 0; failed = 0; failure = 0; failure_address = 0;
            r_head = 0; r_tail = 0; r_count = 0; r_beat = 0; r_waiting = 0; b_waiting = 0;
            b_head = 0; b_count = 0; w_head = 0; w_tail = 0; w_count = 0; w_beat = 0;
        end else begin
            check_waiting;
            if (running) cycles <= cycles + 1;
            else if (run != finished) begin_run;
            if (rvalid && rready) take_read_beat;
            if (bvalid && bready) take_response;
            if (wvalid && wready) write_beats <= write_beats + 1;
            random = $random(state);
            other = $random(state);
            rready <= random[7:0] >= cfg_stalls[15:8];
            bready <= random[15:8] >= cfg_stalls[39:32];
            if (!wvalid || wready) begin
                wvalid <= 0;
                if (w_count != 0 && random[23:16] >= cfg_stalls[31:24]) send_write_beat;
            end
            if (!arvalid || arready) begin
                arvalid <= 0;
                if (running && reads_left != 0 && r_count < DEEP && other[7:0] >= cfg_stalls[7:0])
                    plan_read;
            end
            if (!awvalid || awready) begin
                awvalid <= 0;
                if (running && writes_left != 0 && b_count < DEEP
                        && other[15:8] >= cfg_stalls[23:16]) plan_write;
            end
            if (failed || (running && reads_left == 0 && writes_left == 0 && r_count == 0
                    && b_count == 0)) begin
                running = 0;
                finished <= run;
            end
        end
    end
endmodule
