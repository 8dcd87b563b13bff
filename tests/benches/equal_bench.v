// Two arrays side by side on the same random inputs: `golden` and `gate`, which may be ahead.
//
// Column c of `gate` comes c - c / GROUP cycles earlier. After the comparison one weight bit differs
// for a while, which must show: a bench that compares nothing fails.

`timescale 1ns / 1ns

module equal_bench #(
    parameter ROWS = 3, COLS = 4, GROUP = 1, ACT = 8, WEIGHT = 8, PSUM = 18, CYCLES = 4000
);
    localparam WARM_UP = 40;

    reg clk = 0;
    always #5 clk = !clk;

    reg [ROWS*ACT-1:0] activations = 0;
    reg [ROWS-1:0] swap = 0, capture = 0;
    reg [COLS*WEIGHT-1:0] weights = 0;
    reg disturb = 0;
    wire [COLS*PSUM-1:0] expected, found;

    golden golden (
        .clk(clk), .rst(1'b0), .activations(activations), .swap(swap), .capture(capture),
        .weights(weights), .psums(expected)
    );
    gate gate (
        .clk(clk), .rst(1'b0), .activations(activations), .swap(swap), .capture(capture),
        .weights(weights ^ disturb), .psums(found)
    );

    wire [COLS*PSUM-1:0] aligned;
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : column
            reg [(COLS+1)*PSUM-1:0] late = 0;
            always @(posedge clk) late <= {late[COLS*PSUM-1:0], found[c*PSUM +: PSUM]};
            if (c == c / GROUP) assign aligned[c*PSUM +: PSUM] = found[c*PSUM +: PSUM];
            else assign aligned[c*PSUM +: PSUM] = late[(c - c / GROUP - 1)*PSUM +: PSUM];
        end
    endgenerate

    integer cycle /*verilator public_flat_rd*/ = 0;
    integer compared /*verilator public_flat_rd*/ = 0;
    integer mismatches /*verilator public_flat_rd*/ = 0;
    integer noticed /*verilator public_flat_rd*/ = 0;
    reg done /*verilator public_flat_rd*/ = 0;
    integer i;
    reg [31:0] draw;

    always @(negedge clk) begin
        if (cycle >= WARM_UP && cycle < CYCLES) begin
            compared = compared + 1;
            if (aligned !== expected) mismatches = mismatches + 1;
        end else if (cycle >= CYCLES && aligned !== expected) noticed = noticed + 1;
        cycle = cycle + 1;
        disturb = cycle >= CYCLES;
        done = cycle == CYCLES + 200;

        // Random values, every other one an extreme.
        for (i = 0; i < ROWS; i = i + 1) begin
            draw = $urandom;
            activations[i*ACT +: ACT] = draw[31] ? draw[ACT-1:0]
                : draw[30] ? 1 << (ACT - 1) : ~(1 << (ACT - 1));
            swap[i] = draw[29:28] == 0;
            capture[i] = draw[27:26] == 0;
        end
        for (i = 0; i < COLS; i = i + 1) begin
            draw = $urandom;
            weights[i*WEIGHT +: WEIGHT] = draw[31] ? draw[WEIGHT-1:0]
                : draw[30] ? 1 << (WEIGHT - 1) : ~(1 << (WEIGHT - 1));
        end
        if (cycle < WARM_UP / 2) begin  // every register has a value then
            swap = ~0;
            capture = ~0;
        end
    end
endmodule
