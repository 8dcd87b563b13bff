// The model of an SDR SDRAM chip of four banks that holds its controller to the data sheet.
//
// Times are in ps. The first violation is named in `failure` and on the terminal, and `failed` stays.
// The data pins are split: dq_i and dq_oe are what the board drives, dq_o and dq_drive what the chip
// does; both at once is a violation too. Output data are wrong until T_AC after the clock edge, and
// again from T_OH after the next one on. A word's place in `mem` is its address: {row, bank, column}.
// Auto precharge, self refresh and power-down are refused.

`timescale 1ps / 1ps

module sdram_model #(
    parameter DATA_BITS = 16,
    parameter ROW_BITS = 13,
    parameter COL_BITS = 9,
    parameter ADDRESS_BITS = 13,
    parameter T_RCD = 20000,
    parameter T_RP = 20000,
    parameter T_RAS = 44000,
    parameter T_RC = 66000,
    parameter T_RFC = 66000,
    parameter T_WR = 15000,
    parameter T_RRD = 15000,
    parameter MRD_CYCLES = 2,
    parameter T_REFI = 7812500,
    parameter T_POWER = 200000000,
    parameter T_CK2 = 10000,         // shortest clock period with CAS latency 2, and with 3
    parameter T_CK3 = 7500,
    parameter T_AC = 6000,
    parameter T_OH = 2500
) (
    input clk,
    input cke,
    input cs_n,
    input ras_n,
    input cas_n,
    input we_n,
    input [1:0] ba,
    input [ADDRESS_BITS-1:0] a,
    input [DATA_BITS/8-1:0] dqm,
    input [DATA_BITS-1:0] dq_i,
    input dq_oe,
    output reg [DATA_BITS-1:0] dq_o,
    output reg dq_drive,

    output reg failed,
    output reg [8*48-1:0] failure
);
    localparam LANES = DATA_BITS / 8;

    reg [DATA_BITS-1:0] mem [0:(4 << (ROW_BITS + COL_BITS))-1];

    // 0: power-up, 1: precharged, 2: mode set
    reg [1:0] stage;
    reg [2:0] cas_latency;
    reg [3:0] burst;
    reg [3:0] opened;
    reg [ROW_BITS-1:0] row [0:3];

    // When what happened last, and whether ever.
    reg [63:0] now, last_edge, active_at [0:3], precharge_at [0:3], written_at [0:3];
    reg [63:0] any_active_at, refresh_at, mode_clock, clock, owed_from;
    reg [3:0] was_active, was_precharged, was_written;
    reg any_active, was_refreshed, was_mode;
    reg [31:0] early_refreshes;

    // The burst under way, and words on their way out.
    reg running, writing;
    reg [1:0] at_bank;
    reg [COL_BITS-1:0] at_column, step, column;
    reg [3:0] left;
    reg [DATA_BITS-1:0] pipe [0:2];
    reg [2:0] pipe_valid;
    reg [LANES-1:0] mask_before;
    reg [DATA_BITS-1:0] out_next;
    reg out_valid, drove_before;
    integer lane, n;
    reg [ROW_BITS+COL_BITS+1:0] place;

    task fail(input [8*48-1:0] text);
        if (!failed) begin
            failed = 1;
            failure = text;
            $display("%0t ps: SDRAM violation: %0s", $time, text);
        end
    endtask

    initial begin
        stage = 0; opened = 0; failed = 0; failure = 0; clock = 0;
        was_active = 0; was_precharged = 0; was_written = 0; any_active = 0; was_refreshed = 0;
        was_mode = 0; early_refreshes = 0; running = 0; pipe_valid = 0; dq_drive = 0; last_edge = 0;
        out_valid = 0; drove_before = 0; mask_before = 0; cas_latency = 2; burst = 1; left = 0; writing = 0;
        owed_from = 0;
    end

    // ACTIVE, REFRESH and MODE want banks that have been closed for long enough.
    task check_closed(input [3:0] banks);
        for (n = 0; n < 4; n = n + 1)
            if (banks[n]) begin
                if (opened[n]) fail("a bank is open that must be closed");
                if (was_precharged[n] && now - precharge_at[n] < T_RP)
                    fail("tRP: too early after PRECHARGE");
            end
    endtask

    task do_active;
        begin
            if (stage != 2) fail("ACTIVE before the mode register was set");
            check_closed(4'b0001 << ba);
            if (was_active[ba] && now - active_at[ba] < T_RC)
                fail("tRC: ACTIVE too early after ACTIVE");
            if (any_active && now - any_active_at < T_RRD)
                fail("tRRD: ACTIVE too early after another bank's");
            opened[ba] = 1;
            row[ba] = a;
            active_at[ba] = now;
            was_active[ba] = 1;
            any_active_at = now;
            any_active = 1;
        end
    endtask

    task do_column(input write);
        begin
            if (!opened[ba]) fail("READ or WRITE in a closed bank");
            else if (now - active_at[ba] < T_RCD) fail("tRCD: READ or WRITE too early after ACTIVE");
            if (a[10]) fail("auto precharge is not modelled");
            running = 1;
            writing = write;
            at_bank = ba;
            at_column = a;
            step = 0;
            left = burst;
        end
    endtask

    task do_precharge;
        for (n = 0; n < 4; n = n + 1)
            if (a[10] || ba == n) begin
                if (opened[n] && now - active_at[n] < T_RAS)
                    fail("tRAS: PRECHARGE too early after ACTIVE");
                if (opened[n] && was_written[n] && now - written_at[n] < T_WR)
                    fail("tWR: PRECHARGE too early after write data");
                if (running && at_bank == n) begin
                    if (writing) fail("tWR: PRECHARGE within a write burst");
                    running = 0;
                end
                if (opened[n] || !was_precharged[n]) precharge_at[n] = now;
                opened[n] = 0;
                was_precharged[n] = 1;
                was_written[n] = 0;
                if (stage == 0 && a[10]) stage = 1;
            end
    endtask

    task do_refresh;
        begin
            if (stage == 0) fail("REFRESH before all banks were precharged");
            check_closed(4'b1111);
            if (stage == 1) early_refreshes = early_refreshes + 1;
            // One is owed for each interval; up to one may be late.
            owed_from = (stage == 2 && owed_from + T_REFI < now) ? owed_from + T_REFI : now;
            refresh_at = now;
            was_refreshed = 1;
        end
    endtask

    task do_mode;
        begin
            if (stage == 0) fail("MODE before all banks were precharged");
            if (early_refreshes < 2) fail("MODE before two refreshes");
            check_closed(4'b1111);
            if (a[6:4] != 2 && a[6:4] != 3) fail("the mode's CAS latency is neither 2 nor 3");
            if (a[3:0] > 3) fail("the mode's burst is not sequential of 1 to 8");
            if (a[ADDRESS_BITS-1:7] != 0 || ba != 0) fail("the mode has reserved bits");
            if (last_edge != 0 && now - last_edge < (a[6:4] == 2 ? T_CK2 : T_CK3))
                fail("tCK: the clock is too fast for the CAS latency");
            cas_latency = a[6:4];
            burst = 1 << a[1:0];
            stage = 2;
            was_mode = 1;
            mode_clock = clock;
            owed_from = now;
        end
    endtask

    task move_word;
        begin
            // A burst wraps within its own columns.
            column = (at_column & ~(burst - 1)) | ((at_column + step) & (burst - 1));
            place = {row[at_bank], at_bank, column};
            if (writing) begin
                for (lane = 0; lane < LANES; lane = lane + 1)
                    if (!dqm[lane]) mem[place][8*lane +: 8] = dq_i[8*lane +: 8];
                if (!dq_oe) fail("nobody drives the data of a WRITE");
                written_at[at_bank] = now;
                was_written[at_bank] = 1;
            end else begin
                pipe[0] = mem[place];
                pipe_valid[0] = 1;
            end
            step = step + 1;
            left = left - 1;
            running = left != 0;
        end
    endtask

    always @(posedge clk) begin
        now = $time;
        clock = clock + 1;
        if (!cs_n && {ras_n, cas_n, we_n} != 3'b111) begin
            if (!cke) fail("a command without CKE");
            if (now < T_POWER) fail("tPOWER: a command too early after power-up");
            if (was_refreshed && now - refresh_at < T_RFC) fail("tRFC: too early after REFRESH");
            if (was_mode && clock - mode_clock < MRD_CYCLES) fail("tMRD: too early after MODE");
            case ({ras_n, cas_n, we_n})
                3'b011: do_active;
                3'b101: do_column(0);
                3'b100: do_column(1);
                3'b010: do_precharge;
                3'b001: do_refresh;
                3'b000: do_mode;
                default: running = 0;  // BURST TERMINATE
            endcase
        end
        if (stage == 2 && now - owed_from > 2 * T_REFI) fail("tREFI: REFRESH is overdue");

        // Words move on: the one read now leaves cas_latency - 1 clocks from here.
        pipe[2] = pipe[1];
        pipe[1] = pipe[0];
        pipe_valid = pipe_valid << 1;
        if (running) move_word;
        out_next = pipe[cas_latency - 1];
        out_valid = pipe_valid[cas_latency - 1];
        if (out_valid && mask_before != 0) fail("DQM masks data that are read");
        // The chip takes up to a clock to let go.
        if (dq_oe && (dq_drive || drove_before)) fail("both sides drive the data pins");
        drove_before = dq_drive;
        mask_before = dqm;
        last_edge = now;
    end

    // The data pins, a while after the edge.
    always @(posedge clk) begin
        #T_OH dq_o = ~out_next;
        dq_drive = out_valid;
        #(T_AC - T_OH) dq_o = out_next;
    end
endmodule
