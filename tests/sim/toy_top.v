// A stand-in for the accelerator with its ports: adds 1 to every byte of blocks of memory.
//
// Each of COUNT instructions is 64 bytes: opcode 1 (copy) with source, destination and beats as
// 32-bit words 1..3, or opcode 5 (stamp) with an address in word 1. The upper byte of COUNT makes it
// break one rule of the bus or of the host's contract, by number (see test_network.py).

`timescale 1ns / 1ns

module tilewright_top #(
    parameter BUS = `TOY_BUS
) (
    input clk, input rst, output irq,
    output reg [31:0] m_axi_awaddr, output reg [7:0] m_axi_awlen, output [2:0] m_axi_awsize,
    output [1:0] m_axi_awburst, output reg m_axi_awvalid, input m_axi_awready,
    output [8*BUS-1:0] m_axi_wdata, output reg [BUS-1:0] m_axi_wstrb, output m_axi_wlast,
    output reg m_axi_wvalid, input m_axi_wready,
    input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready,
    output reg [31:0] m_axi_araddr, output reg [7:0] m_axi_arlen, output [2:0] m_axi_arsize,
    output [1:0] m_axi_arburst, output reg m_axi_arvalid, input m_axi_arready,
    input [8*BUS-1:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast,
    input m_axi_rvalid, output m_axi_rready,
    input [11:0] s_axi_awaddr, input s_axi_awvalid, output s_axi_awready,
    input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
    output [1:0] s_axi_bresp, output reg s_axi_bvalid, input s_axi_bready,
    input [11:0] s_axi_araddr, input s_axi_arvalid, output s_axi_arready,
    output reg [31:0] s_axi_rdata, output [1:0] s_axi_rresp, output reg s_axi_rvalid,
    input s_axi_rready
);
    localparam SIZE = $clog2(BUS);
    localparam FETCH = 512 / (8 * BUS);  // beats of an instruction
    localparam LONGEST = BUS < 8 ? 64 : 16;  // beats of a burst
    localparam STAMP = BUS < 8 ? 8 / BUS : 1;  // beats of a stamp

    reg start, done, busy, isr_done, isr_error, gie;
    reg [1:0] ier;
    reg [31:0] base, instructions, count, watchdog, status, cycles, reads, writes;
    wire [7:0] FAULT = count[31:24];
    assign irq = FAULT == 20 ? 1'b0 : gie && |({isr_error, isr_done} & ier);

    // Registers.
    assign s_axi_awready = s_axi_awvalid && s_axi_wvalid && !s_axi_bvalid;
    assign s_axi_wready = s_axi_awready;
    assign s_axi_arready = s_axi_arvalid && !s_axi_rvalid;
    assign s_axi_bresp = FAULT == 21 ? 2'b10 : 2'b00;
    assign s_axi_rresp = 2'b00;
    always @(posedge clk) begin
        start <= 0;
        if (s_axi_bready || FAULT == 27) s_axi_bvalid <= 0;
        if (s_axi_rready || FAULT == 28) s_axi_rvalid <= 0;
        if (s_axi_awready) begin
            s_axi_bvalid <= 1;
            case (s_axi_awaddr)
                12'h00: start <= s_axi_wdata[0] && !busy;
                12'h04: gie <= s_axi_wdata[0];
                12'h08: ier <= s_axi_wdata[1:0];
                12'h10: base <= s_axi_wdata;
                12'h14: instructions <= s_axi_wdata;
                12'h18: count <= s_axi_wdata;
                12'h20: watchdog <= s_axi_wdata;
                default: ;
            endcase
        end
        if (s_axi_arready) begin
            s_axi_rvalid <= 1;
            case (s_axi_araddr)
                12'h00: s_axi_rdata <= {29'b0, !busy, done && FAULT != 31, 1'b0};
                12'h04: s_axi_rdata <= {31'b0, gie};
                12'h08: s_axi_rdata <= {30'b0, ier};
                12'h0C: s_axi_rdata <= {30'b0, isr_error, isr_done};
                12'h10: s_axi_rdata <= base;
                12'h14: s_axi_rdata <= instructions;
                12'h18: s_axi_rdata <= count;
                12'h1C: s_axi_rdata <= status;
                12'h20: s_axi_rdata <= watchdog;
                12'h40: s_axi_rdata <= FAULT == 22 ? 32'h0 : `TOY_ID;
                12'h44: s_axi_rdata <= `TOY_VERSION;
                12'h48: s_axi_rdata <= `TOY_ARRAY;
                12'h4C: s_axi_rdata <= `TOY_WIDTHS;
                12'h50: s_axi_rdata <= `TOY_DEPTHS;
                12'h54: s_axi_rdata <= `TOY_FINGERPRINT;
                12'h58: s_axi_rdata <= `TOY_FEATURES;
                12'h80: s_axi_rdata <= cycles;
                12'h84: s_axi_rdata <= reads;
                12'h9C: s_axi_rdata <= reads;
                12'hA0: s_axi_rdata <= writes;
                default: s_axi_rdata <= 0;
            endcase
        end
        if (rst) begin
            s_axi_bvalid <= 0; s_axi_rvalid <= 0; gie <= 0; ier <= 0;
            base <= 0; instructions <= 0; count <= 0; watchdog <= 0;
        end
    end

    // Engine: fetch, then copy bursts one by one.
    localparam IDLE = 0, FETCHING = 1, DECODE = 2, READ = 3, WRITE = 4, RESPONSE = 5;
    reg [2:0] state;
    reg [31:0] pc, left, source, destination, chunk;
    reg [511:0] instruction;
    reg [8*BUS-1:0] buffer [0:63];
    reg [7:0] at, length;
    reg stamp;
    reg [63:0] stamped;
    wire [31:0] opcode = instruction[31:0];
    wire [31:0] word1 = instruction[63:32];
    integer lane;

    function [8*BUS-1:0] increment(input [8*BUS-1:0] beat);
        for (lane = 0; lane < BUS; lane = lane + 1)
            increment[8*lane +: 8] = beat[8*lane +: 8] + 8'd1;
    endfunction

    assign m_axi_arsize = FAULT == 3 ? SIZE - 1 : SIZE;
    assign m_axi_arburst = FAULT == 2 ? 2'b00 : 2'b01;
    assign m_axi_awsize = FAULT == 13 ? SIZE + 1 : SIZE;
    assign m_axi_awburst = FAULT == 12 ? 2'b10 : 2'b01;
    assign m_axi_rready = FAULT == 25 ? 1'bx : (state == FETCHING || state == READ);
    assign m_axi_bready = state == RESPONSE;
    wire [31:0] tick = FAULT == 7 && m_axi_wvalid ? {31'b0, cycles[0]} : 32'd0;
    assign m_axi_wdata = stamp ? stamped >> (8 * BUS * at)
        : increment(buffer[at]) + tick + (FAULT == 24 && at == 3 && destination[6]);
    assign m_axi_wlast = FAULT == 4 ? at + 1 == length : FAULT == 5 ? 1'b0 : at == length;

    task address_read(input [31:0] from, input [31:0] beats);
        begin
            m_axi_arvalid <= 1;
            m_axi_araddr <= base + from + (FAULT == 1 ? 4096 - BUS : 0)
                - (FAULT == 6 ? base : 0) + (FAULT == 8);
            m_axi_arlen <= (beats > LONGEST ? LONGEST : beats) - (FAULT == 1 ? 0 : 1);
            length <= (beats > LONGEST ? LONGEST : beats) - 1;
            chunk <= beats > LONGEST ? LONGEST : beats;
            at <= 0;
        end
    endtask

    always @(posedge clk) begin
        if (busy) cycles <= cycles + 1;
        if (m_axi_arready) m_axi_arvalid <= 0;
        if (m_axi_awready) m_axi_awvalid <= 0;
        if (FAULT == 9 && m_axi_arvalid && cycles[0]) m_axi_arvalid <= 0;
        if (FAULT == 10 && m_axi_arvalid && !m_axi_arready) m_axi_araddr <= m_axi_araddr + BUS;
        if (FAULT == 11 && m_axi_awvalid) m_axi_awvalid <= 0;
        if (FAULT == 14 && m_axi_awvalid && !m_axi_awready) m_axi_awlen <= m_axi_awlen + 1;
        if (m_axi_rvalid && m_axi_rready) reads <= reads + 1;
        if (m_axi_wvalid && m_axi_wready) writes <= writes + 1;
        case (state)
            IDLE: if (start) begin
                busy <= 1; done <= 0; cycles <= 0; reads <= 0; writes <= 0; status <= 0;
                pc <= 0;
                stamp <= 0;
                state <= FAULT == 23 ? IDLE : FETCHING;
                address_read(instructions, FETCH);
            end
            FETCHING: if (m_axi_rvalid) begin
                instruction <= {m_axi_rdata, instruction[511:8*BUS]};
                if (m_axi_rresp != 0) status <= 2;
                if (m_axi_rlast) state <= DECODE;
            end
            DECODE: begin
                pc <= pc + 1;
                left <= instruction[127:96];
                source <= word1;
                destination <= opcode == 5 ? word1 : instruction[95:64];
                stamp <= opcode == 5;
                stamped <= {reads, cycles};
                if (status != 0 || (opcode != 1 && opcode != 5)) begin
                    if (status == 0) status <= 1;
                    state <= IDLE; busy <= 0; isr_error <= 1;
                end else if (opcode == 5) begin
                    chunk <= STAMP; length <= STAMP - 1; at <= 0; left <= STAMP;
                    m_axi_awvalid <= 1; m_axi_awaddr <= base + word1; m_axi_awlen <= STAMP - 1;
                    m_axi_wvalid <= 1; m_axi_wstrb <= {BUS{1'b1}};
                    state <= WRITE;
                end else begin
                    address_read(FAULT == 19 ? instruction[95:64] : word1, instruction[127:96]);
                    state <= READ;
                end
            end
            READ: if (m_axi_rvalid) begin
                buffer[at] <= m_axi_rdata;
                at <= at + 1;
                if (m_axi_rresp != 0) status <= 2;
                if (m_axi_rlast) begin
                    at <= 0;
                    m_axi_awvalid <= 1;
                    m_axi_awaddr <= base + destination + (FAULT == 16 ? 32'h1000000 : 0)
                        + (FAULT == 18);
                    if (FAULT == 17) m_axi_awaddr <= base + 4096 - BUS;
                    if (FAULT == 30) $finish;
                    m_axi_awlen <= length;
                    m_axi_wvalid <= 1;
                    m_axi_wstrb <= FAULT == 26 ? {BUS{1'bx}} : {BUS{1'b1}};
                    state <= WRITE;
                end
            end
            WRITE: begin
                if (FAULT == 15 && at == 1 && !m_axi_wready) m_axi_wvalid <= !m_axi_wvalid;
                if (m_axi_wready) begin
                    at <= at + 1;
                    if (at == length) begin
                        m_axi_wvalid <= 0;
                        state <= RESPONSE;
                    end
                end
            end
            RESPONSE: if (m_axi_bvalid) begin
                if (m_axi_bresp != 0) status <= 3;
                source <= source + chunk * BUS;
                destination <= destination + chunk * BUS;
                left <= left - chunk;
                if (left != chunk) begin
                    address_read(source + chunk * BUS, left - chunk);
                    state <= READ;
                end else if (status != 0 || m_axi_bresp != 0) begin
                    state <= IDLE; busy <= 0; isr_error <= 1;
                end else if (pc == count[23:0]) begin
                    state <= IDLE; busy <= 0; done <= 1; isr_done <= 1;
                end else begin
                    stamp <= 0;
                    address_read(instructions + 64 * pc, FETCH);
                    state <= FETCHING;
                end
            end
            default: state <= IDLE;
        endcase
        if (s_axi_awready && s_axi_awaddr == 12'h0C && !(FAULT == 29 && !busy)) begin
            if (s_axi_wdata[0]) isr_done <= 0;
            if (s_axi_wdata[1]) isr_error <= 0;
        end
        if (rst) begin
            state <= IDLE; busy <= 0; done <= 0; isr_done <= 0; isr_error <= 0; status <= 0;
            m_axi_arvalid <= 0; m_axi_awvalid <= 0; m_axi_wvalid <= 0; stamp <= 0;
            cycles <= 0; reads <= 0; writes <= 0; at <= 0; length <= 0;
        end
    end
endmodule
